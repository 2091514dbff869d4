"""Benchmarks of what serves: latency, throughput, reloads, endurance."""
