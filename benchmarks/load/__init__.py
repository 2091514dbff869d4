"""Load testing: a workload, the loops that send it over a transport, and the latencies."""
