"""Turns among the processes of a machine, where all at once would be slower."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

_TRY_S = 0.05  # between two tries


@contextlib.asynccontextmanager
async def turn(folder: Path, patience_s: float) -> AsyncIterator[None]:
    """Wait until no other process has its turn at `folder`, for so many seconds at most.

    Raises OSError where the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(int(patience_s / _TRY_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_TRY_S)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(descriptor)  # which ends the turn
