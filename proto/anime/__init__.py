"""Stubs of the public contract."""
