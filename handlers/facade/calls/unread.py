"""Bytes of answers whose callers have not read them yet, bounded for all together."""

from collections import Counter

# Answers up to so many bytes are not counted: as many as there are calls and streams' requests,
# they come to some tens of MiB.
SMALL = 16 * 1024
# Bytes of the others at once, and one connection's share of them. A single answer may have more.
MOST, OF_A_CONNECTION = 128 * 1024 * 1024, 32 * 1024 * 1024


class Unread:
    """Counts the answers that are made and not read; what is one too many is not sent.

    HTTP/2 lets a caller leave an answer unread for as long as it stays connected, and gRPC keeps it
    whole for that long.
    """

    def __init__(self) -> None:
        self._held = 0
        self._by_connection: Counter[str] = Counter()

    def take(self, peer: str, size: int) -> bool:
        """Count an answer of `size` bytes to a connection; False where there is no room for it."""
        if size <= SMALL:
            return True
        mine = self._by_connection[peer]
        if (self._held and self._held + size > MOST) or (mine and mine + size > OF_A_CONNECTION):
            return False
        self._held += size
        self._by_connection[peer] += size
        return True

    def give_back(self, peer: str, size: int) -> None:
        """Count it no more: it has been read, or its caller has left."""
        if size <= SMALL:
            return
        self._held -= size
        self._by_connection[peer] -= size
        if not self._by_connection[peer]:
            del self._by_connection[peer]
