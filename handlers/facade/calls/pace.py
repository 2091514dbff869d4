"""Work on the event loop that takes long, at a pace that leaves time to what takes little."""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass

from handlers.facade.batching.line import Line


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    caller: Hashable
    turn: asyncio.Future[None]


class Pace:
    """Lets pieces of work begin one by one, so many rounds of the event loop apart.

    gRPC hands over one call in each round: one that comes after many large ones waits for some of
    the work on these, and not for all. A round in which there is nothing to do takes some
    microseconds. Callers take turns.
    """

    def __init__(self, rounds: int) -> None:
        """Keep `rounds` rounds between two pieces."""
        self._rounds = rounds
        self._left = 0  # of the rounds since the last one began
        self._line: Line[_Waiting] = Line()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    async def turn(self, caller: Hashable) -> None:
        """Wait until a piece of work may begin, which is at once where there was none lately."""
        loop = asyncio.get_running_loop()
        if not self._left:
            self._begin(loop)
            return
        waiting = _Waiting(caller, loop.create_future())
        self._line.append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            self._line.remove(waiting)
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._rounds
        loop.call_soon(self._round, loop)

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left -= 1
        if self._left:
            loop.call_soon(self._round, loop)
        elif self._line:
            self._line.popleft().turn.set_result(None)
            self._begin(loop)
