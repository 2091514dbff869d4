"""Which anime a request may be answered with."""
