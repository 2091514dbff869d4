"""Group commit: what waits to be written goes together, and is answered once it is on disk."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anirank.errors import Overloaded
from handlers.histories.record import Change
from handlers.histories.store import WRITE_S

MOST_WAITING = 1_024  # writes; the next is refused
LARGEST_COMMIT = 256  # writes
RETRY_S = 0.1


@dataclass(slots=True, eq=False)
class Write:
    """A write that waits. answer: what it is answered with, an exception to be raised included."""

    user_id: int
    change: Change
    waiting: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    answer: Any = None


class Commits:
    """Gathers writes in a thread of its own: while one commit waits for the disk, the next forms.

    Nobody waits for a timer: a lone write is committed at once.
    """

    def __init__(self, commit: Callable[[Sequence[Write]], None]) -> None:
        """Write with `commit`, which sets every write's answer once all of them are on disk."""
        self._commit = commit
        self._waiting: deque[Write] = deque()
        self._arrived = threading.Condition()
        self._ending = False
        # A daemon: one that waits for a lock that another process holds does not keep this one.
        self._thread = threading.Thread(target=self._run, name="histories", daemon=True)
        self._thread.start()

    async def write(self, user_id: int, change: Change) -> Any:
        """What a change is answered with, once it is on disk; raises TimeoutError after `WRITE_S`.

        Who leaves meanwhile, or whose time is over, takes the write out, unless it is being
        committed.
        """
        loop = asyncio.get_running_loop()
        write = Write(user_id, change, loop.create_future(), loop)
        with self._arrived:
            if len(self._waiting) >= MOST_WAITING:
                raise Overloaded(f"{len(self._waiting)} writes wait already", RETRY_S)
            self._waiting.append(write)
            self._arrived.notify()
        async with asyncio.timeout(WRITE_S):
            answer = await write.waiting
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """End the thread once nothing waits; it is given up where that takes too long."""
        with self._arrived:
            self._ending = True
            self._arrived.notify()
        await asyncio.to_thread(self._thread.join, WRITE_S)

    def _run(self) -> None:
        while True:
            with self._arrived:
                while not self._waiting:
                    if self._ending:
                        return
                    self._arrived.wait()
                count = min(len(self._waiting), LARGEST_COMMIT)
                batch = [self._waiting.popleft() for _ in range(count)]
            # Whose caller was told otherwise is not written.
            batch = [write for write in batch if not write.waiting.done()]
            if not batch:
                continue
            try:
                self._commit(batch)
            except Exception as error:
                for write in batch:
                    write.answer = error
            for loop in {write.loop for write in batch}:
                of_it = [write for write in batch if write.loop is loop]
                try:
                    loop.call_soon_threadsafe(_answer, of_it)
                except RuntimeError:  # it has ended, and nobody waits any more
                    continue


def _answer(batch: Sequence[Write]) -> None:
    for write in batch:
        if not write.waiting.done():
            write.waiting.set_result(write.answer)
