"""What serves a bundle: the engine, the TorchServe handler, the gRPC façade and its client."""
