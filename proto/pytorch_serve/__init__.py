"""Stubs made from inference.proto."""
