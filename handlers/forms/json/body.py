"""JSON as it comes: bytes from anybody, parsed, and how many of them a request may have."""

import json

from anirank.errors import InvalidQuery, quoted
from handlers.engine.query import OTHER_BYTES, Limits

# Bytes of an id in a list, and of an item of a history, at their longest:
# `-9223372036854775808, ` and `{"anime_id": -9223372036854775808, "rating": 10.0}, `.
_ID_BYTES, _HISTORY_BYTES = 22, 56


def most_bytes(limits: Limits) -> int:
    """The most bytes that a request within these limits takes as JSON, written without padding."""
    ids = limits.candidates + 2 * limits.filter_ids
    return _ID_BYTES * ids + _HISTORY_BYTES * limits.history + OTHER_BYTES


def read_json(content: bytes | bytearray | str) -> object:
    """What JSON says; raises InvalidQuery of the field ``body`` where it is none.

    So is what is nested deeper than Python's stack, and a number of thousands of digits.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidQuery("body", f"is not JSON ({quoted(str(error))})") from error
