"""What calls a façade: the clients, the messages they send, and what they show of themselves."""
