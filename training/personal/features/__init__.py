"""What is said of an anime and of a user, as numbers."""
