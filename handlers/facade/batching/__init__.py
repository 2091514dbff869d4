"""The queue before a backend, and the batches that form in it."""
