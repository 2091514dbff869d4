"""Benchmarks of reading, training and what each part of a model adds."""
