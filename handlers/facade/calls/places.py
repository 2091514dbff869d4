"""The places that open calls take, and who makes room where there is none left."""

import asyncio
import contextlib
import functools
import ipaddress
from collections import Counter
from urllib.parse import unquote
from weakref import WeakValueDictionary

from anirank.errors import Overloaded
from handlers.facade import capacity

RETRY_S = 1.0  # after which a place may be free
SITE_BITS = 64  # of an IPv6 address
_WHOSE = {"places": "", "address": " of this address"}


class Call:
    """An open call.

    address: whose it is, see `address_of`. turns: to be acquired by the calls of its connection.
    deadline: of what it is waited for; it is brought forward where the call has to make room. cap:
    the one that it met.
    """

    __slots__ = ("address", "cap", "deadline", "turns")

    def __init__(self, peer: str, places: "Places") -> None:
        """Know a call by its `peer`, as gRPC says it, which is to have one of `places`."""
        self.address = address_of(peer)
        self.turns = places.turns(peer)
        self.cap: str | None = None
        self.deadline: asyncio.Timeout | None = None


class Places:
    """So many calls at once, and of one address no more than a share of them.

    A call that nothing has come over yet is waited for. Where there is no place for a new one, the
    address that has the most of those gives up its oldest. A caller's message follows its call at
    once, so what makes room is what never meant to send any.
    """

    def __init__(self, calls: int, of_one_address: int | None = None) -> None:
        """Let `calls` be open, of one address up to `of_one_address`, by default all."""
        self._calls, self._of_one_address = calls, of_one_address or calls
        self._open: set[Call] = set()
        self._by_address: Counter[str] = Counter()
        self._waited_for: dict[str, dict[Call, None]] = {}  # by address, the oldest first
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many calls are open."""
        return len(self._open)

    def turns(self, peer: str) -> asyncio.Semaphore:
        """What the calls of one connection take turns by."""
        turns = self._turns.get(peer)
        if turns is None:
            turns = self._turns[peer] = asyncio.Semaphore(capacity.CALLS_OF_A_CONNECTION)
        return turns

    def take(self, call: Call) -> str | None:
        """Give a call a place, in which it is waited for; else the cap that leaves it none."""
        full = len(self._open) >= self._calls
        if full and not self._make_room(self._most_waited_for(), "places"):
            return "places"
        many = self._by_address[call.address] >= self._of_one_address
        if many and not self._make_room(call.address, "address"):
            return "address"
        self._open.add(call)
        self._by_address[call.address] += 1
        self._waited_for.setdefault(call.address, {})[call] = None
        return None

    def arrived(self, call: Call) -> None:
        """Take note that a call's message is there: it does not make room from here on."""
        waited_for = self._waited_for.get(call.address, {})
        if call in waited_for:
            del waited_for[call]
            if not waited_for:
                del self._waited_for[call.address]

    def waits(self, call: Call) -> None:
        """Take note that a call is waited for again, as the last of its address."""
        if call in self._open:
            self._waited_for.setdefault(call.address, {})[call] = None

    def give_back(self, call: Call) -> None:
        """Free the place of a call, if it has one."""
        if call not in self._open:
            return
        self.arrived(call)
        self._open.remove(call)
        self._by_address[call.address] -= 1
        if not self._by_address[call.address]:
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
        if oldest.deadline is not None:
            with contextlib.suppress(RuntimeError):  # it is about to end as it is
                oldest.deadline.reschedule(asyncio.get_running_loop().time())
        return True


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
