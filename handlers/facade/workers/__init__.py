"""Several processes that share one port."""
