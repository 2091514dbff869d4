"""Who has watched and rated what, and the item-item models fitted to it."""
