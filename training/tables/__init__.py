"""From the CSV files of the dump to typed tables."""
