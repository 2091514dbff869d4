"""The wide part, fitted in closed form."""
