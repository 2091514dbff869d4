"""Stubs made from ranking.proto."""
