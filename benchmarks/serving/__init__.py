"""Benchmarks of serving, each a program: `python -m benchmarks.serving.NAME`.

comparison     the façade beside its floors and its peers      (rounds, floors, search,
                                                               measurement, goals, report)
reload         latency while versions are switched             (copies)
soak           minutes of load, reloads and killed workers     (copies, memory)
graph          the exported graph and a recommendation, with no server around them
device         the served graph on the CPU and on CUDA
threads        core time of a call, by thread
observability  what ids, metrics, traces and log lines cost a request
"""
