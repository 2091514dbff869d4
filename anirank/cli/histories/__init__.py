"""What users have watched: their own list of it, and what a façade has recorded."""
