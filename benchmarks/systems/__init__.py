"""The systems under test: the façade, TorchServe, a gRPC echo and the peers, each started alike."""
