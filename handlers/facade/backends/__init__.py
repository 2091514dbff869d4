"""What computes the scores behind the façade."""
