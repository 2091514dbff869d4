"""What computes the scores behind the façade.

A new one is a module here that has an `Opener`, and a line of `BACKENDS` in
handlers/facade/settings.py.
"""
