"""From the three CSV files of the dump to typed tables."""
