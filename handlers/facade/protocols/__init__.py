"""What the façade speaks beside its own gRPC: HTTP with JSON, and the Open Inference Protocol."""
