"""The bundle's one home: every part of it, written and read, by numpy alone."""
