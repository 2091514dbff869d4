"""The forms of a request and of an answer: JSON, binary, proto messages."""
