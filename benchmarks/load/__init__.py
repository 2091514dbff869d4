"""Load testing: what is asked, how it is sent, and the latencies that come of it."""
