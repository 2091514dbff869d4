"""The served graph of `personal`, folded, and the unfolded model that it is held to."""
