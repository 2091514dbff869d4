"""Stubs made from inference.proto: the two methods of TorchServe that are called."""
