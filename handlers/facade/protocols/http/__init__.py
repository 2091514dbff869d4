"""Plain HTTP with JSON: the methods of the contract, in the event loop that answers gRPC."""
