"""TorchServe: the handler in the .mar, and the server that runs it."""
