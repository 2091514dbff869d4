"""The served graph of `seed`, folded, and the unfolded model that it is held to."""
