"""Recommenders of other libraries, each in a Python of its own, on a run's ratings.

`compare` is the command; the other modules are the peers' programs, which know of nothing but the
matrix they are handed.
"""
