"""The store that `--histories` names: a folder for LMDB, or the URL of a Redis."""

from pathlib import Path
from urllib.parse import urlsplit

from anirank.errors import naming_the_extra
from handlers.histories.store import Store

_SCHEMES = ("redis", "rediss", "unix")


def open_store(place: str, size_mib: int, create: bool = True, lenient: bool = False) -> Store:
    """The store at `place`; the rest is for LMDB, see `LmdbStore`.

    Raises HistoriesError where there is something else, and ExtraMissing.
    """
    with naming_the_extra("histories"):
        if urlsplit(place).scheme in _SCHEMES:
            from handlers.histories.redis_store import RedisStore

            return RedisStore(place)
        from handlers.histories.lmdb_store import LmdbStore

        return LmdbStore(Path(place), size_mib, create, lenient)
