"""The gRPC contract: stubs made from `ranking.proto`, which lies beside them.

They stand in `anirank`, since a program may have an `anime` of its own.
"""
