"""Calls as they come in: a place for each before anything of them is read, and how they are."""
