"""Who has watched and rated what, and what is fitted to it in closed form."""
