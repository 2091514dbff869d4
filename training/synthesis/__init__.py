"""Invented data in the shape of the dump."""
