"""Who may call: TLS, tokens, and the addresses that need them."""
