"""The stubs of the Open Inference Protocol, whose descriptors stand in a pool of their own.

Triton's client has messages of the same names: in one pool, who loads both could not load one.
"""
