"""The gRPC façade: settings → versions → server; a request → queue → backend → reply."""
