"""Load, floors and peers: what measures the façade, and what it is measured against."""
