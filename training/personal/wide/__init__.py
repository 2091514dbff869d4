"""The wide part, fitted without epochs."""
