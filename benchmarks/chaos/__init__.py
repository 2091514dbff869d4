"""A façade in trouble: what it answers while its store, its processes and its port are attacked."""
