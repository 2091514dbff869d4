"""What a store of histories does, whichever keeps them."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

from anirank.errors import BackendUnavailable
from handlers.histories.record import Change, Record

WRITE_S = 5.0  # that a write may take; then it is answered with UNAVAILABLE
TOLD = "what keeps the histories does not answer; ask again, with the same request id"


class Store(Protocol):
    """Keeps a record of each user; its answers say what is kept whatever ends the process then.

    All methods raise BackendUnavailable, for the log, where the store is full, locked, damaged or
    gone; none waits for longer than `WRITE_S`. name: lmdb or redis.
    """

    name: str

    async def get(self, user_id: int) -> Record:
        """The record of a user, empty where there is none."""

    async def update(self, user_id: int, change: Change) -> Any:
        """Change the record of a user, all of it or nothing; what the change answers, or raises."""

    async def forgotten(self) -> frozenset[int]:
        """The users who were forgotten, as far as this process can know them now."""

    def all(self) -> AsyncIterator[tuple[int, Record]]:
        """Every user with their record; raises HistoriesError where one is damaged."""

    async def close(self) -> None:
        """Let go of the store, once what is being written is."""


def unavailable(name: str, reason: str) -> BackendUnavailable:
    """Why a store does not answer: in full for the log, and no place of ours for callers."""
    error = BackendUnavailable(f"the histories in {name}: {reason}")
    error.told = TOLD
    return error
