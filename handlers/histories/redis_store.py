"""Histories in a Redis, which several machines ask.

A record is a value of its own. A write reads it, changes it here, and puts it in its place if
nobody has put another there meanwhile, which a script in the server does at once. What is answered
is kept where the server writes every command to its log before it answers (`appendonly yes`,
`appendfsync always`), and drops nothing when its memory is full (`maxmemory-policy noeviction`).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError

from anirank.errors import HistoriesError
from handlers.histories.record import MARK, SCHEMA, Change, DamagedError, Record, record_for
from handlers.histories.store import WRITE_S, unavailable

READ_S = 0.25  # that a read may take; the answer is then by the bundle alone
SILENT_S = 0.5  # after a read that had no answer none is tried, or each would wait as long
_KEPT = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
_SCHEMA_KEY = "anirank:histories:schema"
_GONE_KEY = "anirank:histories:forgotten"
_USER_KEY = "anirank:histories:user:"
_CONNECTIONS = 16  # of a process
_PAGE = 1_000  # users that are read at a time

# KEYS: the user's record, the set of forgotten users. ARGV: the mark that the record should have,
# the new record, the id of a user to put into the set. 1 where it was put, else 0.
_REPLACE = f"""
if redis.call('GETRANGE', KEYS[1], 0, {MARK - 1}) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('SADD', KEYS[2], ARGV[3]) end
return 1
"""

log = logging.getLogger(__name__)


class RedisStore:
    """A store in a Redis; see `Store`. It is for one event loop."""

    name = "redis"

    def __init__(self, url: str) -> None:
        """Ask the server at `url`, redis://[USER:PASSWORD@]HOST:PORT[/DATABASE], and no other.

        rediss:// asks over TLS, unix:// over a socket. Raises HistoriesError where it is none.
        """
        place = urlsplit(url)
        self._place = f"{place.scheme}://{place.hostname or place.path}"  # without a password
        self._place += f":{place.port}" if place.port else ""
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=WRITE_S,
                socket_timeout=WRITE_S,
                socket_connect_timeout=WRITE_S,
                retry=Retry(NoBackoff(), 0),  # to write once more is for who asked to say
            )
        except ValueError as error:
            raise HistoriesError(f"{self._place}: {error}") from error
        # Its types leave open what answers are, which the bytes of a connection decide.
        self._redis: Any = Redis.from_pool(pool)
        self._replace: Any = self._redis.register_script(_REPLACE)
        self._known = False  # whether its schema is ours
        self._silent_until = 0.0  # in seconds of the loop's clock: no read is tried
        self._checking = asyncio.Lock()
        self._forgotten: tuple[int, frozenset[int]] = (-1, frozenset())

    async def get(self, user_id: int) -> Record:
        """The record of a user; see `Store.get`."""
        now = asyncio.get_running_loop().time()
        if now < self._silent_until:
            raise unavailable(self._place, "it did not answer a moment ago")
        try:
            async with asyncio.timeout(READ_S):
                await self._check()
                return Record.from_bytes(await self._redis.get(_key(user_id)))
        except (HistoriesError, DamagedError) as error:
            self._fail(error, READ_S)
        except (RedisError, OSError, TimeoutError) as error:
            self._silent_until = now + READ_S + SILENT_S
            self._fail(error, READ_S)

    async def update(self, user_id: int, change: Change) -> Any:
        """Change the record of a user; see `Store.update`."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self._check()
                return await self._update(user_id, change)
        except (HistoriesError, RedisError, OSError, TimeoutError, DamagedError) as error:
            self._fail(error, WRITE_S)

    async def forgotten(self) -> frozenset[int]:
        """The users who were forgotten; they are listed again only where there are more."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self._check()
                count = int(await self._redis.scard(_GONE_KEY))
                if count != self._forgotten[0]:
                    listed = await self._redis.smembers(_GONE_KEY)
                    self._forgotten = count, frozenset(map(int, listed))
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(error, WRITE_S)
        return self._forgotten[1]

    async def all(self) -> AsyncIterator[tuple[int, Record]]:
        """Every user with their record; what changes meanwhile may be as before or as after."""
        try:
            await self._check()
            seen: set[bytes] = set()  # a scan may give a key twice
            page: list[bytes] = []
            async for key in self._redis.scan_iter(match=f"{_USER_KEY}*", count=_PAGE):
                if key not in seen:
                    seen.add(key)
                    page.append(key)
                if len(page) == _PAGE:
                    for found in await self._records(page):
                        yield found
                    page = []
            for found in await self._records(page):
                yield found
        except DamagedError as error:
            raise HistoriesError(f"{self._place}: damaged ({error})") from error
        except (RedisError, OSError) as error:
            self._fail(error, WRITE_S)

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    async def unkept(self) -> list[str]:
        """What of the server's settings keeps it from keeping all that it answers, as lines."""
        try:
            found: dict[Any, Any] = {}
            for name in _KEPT:
                found |= await self._redis.config_get(name)
        except (RedisError, OSError) as error:
            return [f"its settings cannot be read ({_words(error)})"]
        texts = {_text(key): _text(value) for key, value in found.items()}
        return [
            f"{name} is {texts.get(name, 'unknown')}, should be {right}"
            for name, right in _KEPT.items()
            if texts.get(name) != right
        ]

    async def _records(self, keys: list[bytes]) -> list[tuple[int, Record]]:
        kept = await self._redis.mget(keys) if keys else []
        pairs = zip(keys, kept, strict=True)
        users = ((int(key.removeprefix(_USER_KEY.encode())), value) for key, value in pairs)
        return [(user, Record.from_bytes(value)) for user, value in users if value is not None]

    async def _update(self, user_id: int, change: Change) -> Any:
        key = _key(user_id)
        while True:
            before = await self._redis.get(key)
            record, answer = change(record_for(change, before))
            if record is None:
                return answer
            gone = str(user_id) if record.forgotten else ""
            mark = before[:MARK] if before else b""
            if await self._replace([key, _GONE_KEY], [mark, record.to_bytes(), gone]):
                return answer

    async def _check(self) -> None:
        """Raise HistoriesError where what is there is of another schema, until it is ours once."""
        if self._known:
            return
        async with self._checking:
            if not self._known:
                await self._redis.set(_SCHEMA_KEY, SCHEMA, nx=True)
                found = _text(await self._redis.get(_SCHEMA_KEY))
                if found != str(SCHEMA):
                    raise HistoriesError(
                        f"{self._place}: schema {found}, this version of anirank reads {SCHEMA}"
                    )
                for line in await self.unkept():
                    log.warning("%s may lose what it has answered: %s", self._place, line)
                self._known = True

    def _fail(self, error: Exception, seconds: float) -> NoReturn:
        if isinstance(error, OutOfMemoryError):
            reason = "full"
        elif isinstance(error, TimeoutError):
            reason = f"no answer in {seconds:g} s"
        elif isinstance(error, DamagedError):
            reason = f"damaged ({error})"
        else:
            reason = _words(error)
        raise unavailable(self._place, reason) from error


def _key(user_id: int) -> str:
    return f"{_USER_KEY}{user_id}"


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _words(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
