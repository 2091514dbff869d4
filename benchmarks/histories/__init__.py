"""What a look at what was recorded of a user costs, and a write with its commit on disk.

speed   reads, writes alone, and many writers at once: over LMDB or a Redis
"""
