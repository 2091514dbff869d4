"""From CSV files to a run: tables, features, the model and its training."""
