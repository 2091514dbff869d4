"""The gRPC façade: settings → versions → server; a request → queue → backend → reply.

Each module and each folder here imports only what stands above it:

    settings      what a façade is started with
    capacity      what a server takes at most
    shutdown      the end that signals ask for
    status        errors as statuses of gRPC
    telemetry/    the log, the metrics and the traces of requests
    backends/     what computes the scores
    batching/     the queue before a backend, and the batches that form in it
    versions/     the versions of a model: loaded, served side by side, switched
    calls/        a place for each call, a time for its message, how it is read
    stream        one RankStream
    methods       the methods of the service
    health        health checks
    server        the gRPC server
    process       from settings to a façade that answers
    workers/      several such processes that share an address
"""
