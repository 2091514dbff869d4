"""A folder of files over HTTP: the page that `make web` builds, at /page/.

It is read once, when the server begins. So nothing that a request says can reach another file, and
a folder that is built anew is not shown half old and half new.
"""

import gzip
import io
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from anirank.errors import SettingsError
from handlers.facade.protocols.http.exchange import Exchange, Headers
from handlers.facade.protocols.http.gate import PAGE, Endpoint

# A folder given by mistake would be read into memory. The page has 30 MB and 20 files.
MOST_BYTES, MOST_FILES = 256 * 1024 * 1024, 1_000
FIRST = "index.html"
HASHED = "assets/"  # whose files have another name where they hold something else
PACKED = ".gz"

# Not of the system's table, which differs by system. What is not here is only saved.
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
_OTHERS = "application/octet-stream"
_ALWAYS = (
    # That of the page itself, which a file server does not send; its worker has only this one.
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
        "connect-src 'self'; worker-src 'self'; img-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("vary", "accept-encoding"),
)
_GZIP = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)", re.I)


class _File(NamedTuple):
    """A file as it is sent; packed: the same as gzip, where the folder has that too."""

    kind: str
    cached: str
    tag: str
    content: bytes
    packed: bytes | None


class Site:
    """The files of one folder."""

    def __init__(self, files: Mapping[str, _File]) -> None:
        self._files = files

    @classmethod
    def read(cls, folder: Path) -> "Site":
        """Read a folder; raises SettingsError where it is no page, or a link leads out of it."""
        found: dict[str, bytes] = {}
        try:
            size = 0
            for path in _inside(folder):
                size += path.stat().st_size
                if len(found) == MOST_FILES or size > MOST_BYTES:
                    raise SettingsError(
                        f"--page {folder}: has more than {MOST_FILES:,} files or "
                        f"{MOST_BYTES >> 20} MiB, should be what `make web` builds"
                    )
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
        except OSError as error:
            raise SettingsError(f"--page {folder}: cannot be read ({error})") from error
        if FIRST not in found:
            raise SettingsError(f"--page {folder}: has no {FIRST}; `make web` builds a page")
        return cls(
            {
                name: _file(name, content, found.get(name + PACKED))
                for name, content in found.items()
                if name.removesuffix(PACKED) == name or name.removesuffix(PACKED) not in found
            }
        )

    def routes(self) -> list[BaseRoute]:
        """What answers under /page/."""
        return [
            Route(PAGE.rstrip("/"), Endpoint(self._redirect), methods=["GET"]),
            Route(f"{PAGE}{{name:path}}", Endpoint(self._answer), methods=["GET"]),
        ]

    async def _answer(self, exchange: Exchange) -> None:
        file = self._files.get(exchange.scope["path_params"]["name"] or FIRST)
        if file is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        await exchange.without_body()
        given = dict(exchange.scope["headers"])  # of one name the last, as of those that count
        content, tag, more = file.content, f'"{file.tag}"', list[tuple[str, str]]()
        if file.packed is not None and _GZIP.search(_text(given, b"accept-encoding")):
            content, tag = file.packed, f'"{file.tag}-gzip"'
            more = [("content-encoding", "gzip")]
        headers: Headers = [*_ALWAYS, ("cache-control", file.cached), ("etag", tag)]
        known = [each.strip() for each in _text(given, b"if-none-match").split(",")]
        if tag in known or f"W/{tag}" in known or "*" in known:
            await exchange.start(HTTPStatus.NOT_MODIFIED, headers, file.kind)
            await exchange.end()
        else:
            await exchange.reply(content, file.kind, [*headers, *more])

    async def _redirect(self, exchange: Exchange) -> None:
        await exchange.without_body()
        # From where the caller has found it, which may be below another path.
        location = [("location", PAGE.lstrip("/"))]
        await exchange.reply(b"", _OTHERS, location, HTTPStatus.PERMANENT_REDIRECT)


def _inside(folder: Path) -> Iterator[Path]:
    """The files below a folder."""
    root = folder.resolve(strict=True)
    for path in folder.rglob("*"):  # one by one: it may be a whole disk, given by mistake
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise SettingsError(f"--page {folder}: {path.name} is a link that leads out of it")
        if path.is_file():
            yield path


def _file(name: str, content: bytes, packed: bytes | None) -> _File:
    return _File(
        kind=_KINDS.get(Path(name).suffix, _OTHERS),
        cached="public, max-age=31536000, immutable" if name.startswith(HASHED) else "no-cache",
        tag=sha256(content).hexdigest()[:32],
        content=content,
        packed=packed if packed is not None and _is_of(packed, content) else None,
    )


def _is_of(packed: bytes, content: bytes) -> bool:
    """Whether a file holds another as gzip, not one of before."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            return file.read(len(content) + 1) == content
    except (OSError, EOFError):
        return False


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")
