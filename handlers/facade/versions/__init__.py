"""The versions of a model that are served, loaded and switched."""
