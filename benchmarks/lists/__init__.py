"""Benchmarks of lists in bulk, each a program: `python -m benchmarks.lists.NAME`.

speed   users a second of one process, and of the workers of Ray
"""
