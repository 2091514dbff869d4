"""A run beside the models one would try before it, measured on the same held-out ratings."""
