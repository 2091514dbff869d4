"""anirank: a Wide & Deep ranking of anime.

Stable, for programs that import it:

    anirank.load("model_store/anime/1")   a bundle as an engine in this process
    anirank.Client, anirank.AsyncClient   what calls a façade over gRPC
    anirank.errors                        every error they raise
    anirank.__version__                   of this installation
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anirank.client.aio import AsyncClient
    from anirank.client.sync import Client
    from handlers.engine.loading import load

    __version__: str

__all__ = ["AsyncClient", "Client", "__version__", "load"]

# Each is imported when it is first asked for: a client needs no engine, an engine no grpc.
_HOMES = {
    "AsyncClient": "anirank.client.aio",
    "Client": "anirank.client.sync",
    "load": "handlers.engine.loading",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("anirank")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
