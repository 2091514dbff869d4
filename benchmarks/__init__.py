"""Benchmarks: what the figures in `docs/` were measured with.

load      requests, how they are sent, and latencies; `anirank bench` is here
systems   the façade, its floor (a gRPC echo) and its peers: how each is started and called
serving   runs over these systems, each a program: comparison, reload, soak, graph and more
lists     lists for many users in bulk
training  tables, crosses, training speed and what each part of a model adds, each a program

A room imports from those above it alone; `machine`, `figures` and `plots` serve them all.
"""
