"""The form in JSON: what REST and HTTP take and answer."""
