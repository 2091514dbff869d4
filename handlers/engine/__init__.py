"""The engine: a bundle in memory that answers batches of queries."""
