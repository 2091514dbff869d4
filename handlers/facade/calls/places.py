"""The places that open calls take, and who makes room where there is none left."""

import asyncio
import contextlib
import functools
import ipaddress
import time
from collections import deque
from typing import Any
from urllib.parse import unquote

from anirank.errors import Overloaded

RETRY_S = 1.0  # after which a place may be free
NOT_YET = float("inf")  # since when a call is waited for that has no turn
SOONEST_S = 0.1  # between two looks at who is silent
SITE_BITS = 64  # of an IPv6 address
_WHOSE = {"places": "", "address": " of this address"}


class Call:
    """An open call.

    address: whose it is, see `address_of`. deadline: of a call that lasts, which is brought forward
    where it has to make room; another's task is cancelled. cap: the one that it met. silent:
    whether it has sent nothing in time. since: when it was last waited for, in seconds of the
    monotonic clock.
    """

    __slots__ = ("address", "cap", "deadline", "silent", "since", "task")

    def __init__(self, peer: str, task: "asyncio.Task[Any] | None" = None) -> None:
        """Know a call by its `peer`, as gRPC says it, and the task that waits for its message."""
        self.address = address_of(peer)
        self.task = task
        self.cap: str | None = None
        self.deadline: asyncio.Timeout | None = None
        self.silent = False
        self.since = 0.0

    def end(self) -> None:
        """End it, where it is waited for."""
        if self.task is not None:
            self.task.cancel()
        elif self.deadline is not None:
            with contextlib.suppress(RuntimeError):  # it is about to end as it is
                self.deadline.reschedule(asyncio.get_running_loop().time())


class Places:
    """So many calls at once, and of one address no more than a share of them.

    A call that nothing has come over yet is waited for. Where there is no place for a new one, the
    address that has the most of those gives up its oldest. A caller's message follows its call at
    once, so what makes room is what never meant to send any.
    """

    def __init__(
        self, calls: int, of_one_address: int | None = None, patience_s: float | None = None
    ) -> None:
        """Let `calls` be open, of one address up to `of_one_address`, by default all.

        patience_s: ends what is waited for after so many seconds.
        """
        self._calls, self._of_one_address = calls, of_one_address or calls
        self._patience_s = patience_s
        self._timer: asyncio.TimerHandle | None = None  # one for all: a call's own would cost more
        self._open: set[Call] = set()
        self._by_address: dict[str, int] = {}
        self._waited_for: dict[str, dict[Call, None]] = {}  # by address, the oldest first

    def __len__(self) -> int:
        """How many calls are open."""
        return len(self._open)

    def take(self, call: Call) -> str | None:
        """Give a call a place, in which it is waited for; else the cap that leaves it none."""
        full = len(self._open) >= self._calls
        if full and not self._make_room(self._most_waited_for(), "places"):
            return "places"
        address = call.address
        many = self._by_address.get(address, 0) >= self._of_one_address
        if many and not self._make_room(address, "address"):
            return "address"
        self._open.add(call)
        self._by_address[address] = self._by_address.get(address, 0) + 1
        self.waits(call)
        return None

    def arrived(self, call: Call) -> None:
        """Take note that a call's message is there: it does not make room from here on."""
        waited_for = self._waited_for.get(call.address)
        if waited_for is not None and call in waited_for:
            del waited_for[call]
            if not waited_for:
                del self._waited_for[call.address]

    def waits(self, call: Call) -> None:
        """Take note that a call is waited for again, as the last of its address."""
        if call not in self._open:
            return
        call.since = time.monotonic()
        waited_for = self._waited_for.get(call.address)
        if waited_for is None:
            self._waited_for[call.address] = {call: None}
        else:
            waited_for[call] = None
        if self._patience_s is not None and self._timer is None:
            self._expect(self._patience_s)

    def give_back(self, call: Call) -> None:
        """Free the place of a call, if it has one."""
        if call not in self._open:
            return
        self.arrived(call)
        self._open.remove(call)
        if self._by_address[call.address] > 1:
            self._by_address[call.address] -= 1
        else:
            del self._by_address[call.address]

    def _most_waited_for(self) -> str:
        """The address with the most calls that are waited for; empty where there are none."""
        return max(self._waited_for, key=lambda each: len(self._waited_for[each]), default="")

    def _make_room(self, address: str, cap: str) -> bool:
        oldest = next(iter(self._waited_for.get(address, ())), None)
        if oldest is None:
            return False
        self.give_back(oldest)
        oldest.cap = cap
        oldest.end()
        return True

    def _expect(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end_the_silent)

    def _end_the_silent(self) -> None:
        """End those that are waited for no longer, and look again when the next is due."""
        self._timer = None
        assert self._patience_s is not None
        due = time.monotonic() - self._patience_s
        left = [call for calls in self._waited_for.values() for call in calls]
        for call in left:
            if call.since <= due and not call.silent:
                call.silent = True
                call.end()
        nexts = [call.since - due for call in left if not call.silent and call.since < NOT_YET]
        if nexts:
            self._expect(max(min(nexts), SOONEST_S))


class Turns:
    """So many calls of each connection at a time; the others wait, first come first served."""

    def __init__(self, calls: int) -> None:
        """Give `calls` of one connection a turn at once."""
        self._calls = calls
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def are_taken(self, peer: str) -> bool:
        """Whether another call of a connection would have to wait."""
        return self._taken.get(peer, 0) >= self._calls

    async def take(self, peer: str) -> None:
        """Have a turn, at once or when one is given back."""
        if not self.are_taken(peer):
            self._taken[peer] = self._taken.get(peer, 0) + 1
            return
        turn = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(peer, deque())
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(peer)
            raise

    def give_back(self, peer: str) -> None:
        """Leave a turn to the next of its connection."""
        waiting = self._waiting.get(peer)
        while waiting:
            turn = waiting.popleft()
            if not waiting:
                del self._waiting[peer]
            if not turn.done():
                turn.set_result(None)
                return
        if self._taken[peer] > 1:
            self._taken[peer] -= 1
        else:
            del self._taken[peer]


def no_place(cap: str) -> Overloaded:
    """What a call ends with that met a cap of its places."""
    return Overloaded(f"there is no place for another call{_WHOSE[cap]}", RETRY_S)


@functools.lru_cache(maxsize=4_096)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(unquote(host).strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, SITE_BITS), strict=False))
    return str(address)


def address_of(peer: str) -> str:
    """Whose a call is, of what gRPC says of its peer (`ipv4:192.0.2.1:1234`, `unix:`).

    The host's address, which all its connections share; of IPv6 the network of a site, since a host
    has as many addresses in it as it wants.
    """
    return _network(peer.partition(":")[2].rpartition(":")[0])
