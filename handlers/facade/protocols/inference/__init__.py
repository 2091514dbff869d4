"""The Open Inference Protocol, version 2: the graph's own signature over HTTP and gRPC."""
