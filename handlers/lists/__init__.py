"""Lists for many users in bulk: a folder of Parquet files, made here or by the workers of Ray."""
