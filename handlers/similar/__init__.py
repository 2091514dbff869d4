"""What is like what: anime like one or several others, and why."""
