"""Bearer tokens: who shows one of those in a file may call."""

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from handlers.errors import CredentialsError
from handlers.reloading import Reloading

HEADER = "authorization"  # of the metadata: ``authorization: Bearer TOKEN``
VARIABLE = "ANIRANK_TOKEN"
SHORTEST = 16  # characters; what is shorter can be guessed
# Whether the server is there is no secret, and probes carry no token. Health's Watch does need
# one: a stream stays open, and many would take the places of those who may call.
OPEN_TO_ALL = "/grpc.health.v1.Health/Check"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_LARGEST_FILE = 1024 * 1024  # bytes


class Tokens:
    """The tokens in a file, read again when it changes.

    One token a line; empty lines and lines that begin with # say nothing. Only digests of them are
    kept in memory.
    """

    def __init__(self, path: Path) -> None:
        """Read from `path`; raises CredentialsError where that is not a file of tokens."""
        self._file = Reloading((path,), lambda: [_digest(each) for each in read_tokens(path)])

    def know(self, token: str) -> bool:
        """Whether it is one of them; takes as long whichever it is, and if it is none."""
        known = False
        digest = _digest(token)
        for each in self._file.current():
            known |= hmac.compare_digest(each, digest)
        return known


class TokensAsked(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Ends with UNAUTHENTICATED what does not carry a token, before its message is read."""

    def __init__(self, tokens: Tokens, refused: Callable[[str], None]) -> None:
        """Let through who shows one of `tokens`, whatever the method, and health checks.

        refused: is told the path of each method that is refused.
        """
        self._tokens = tokens
        self._refused = refused
        self._refusal = grpc.stream_stream_rpc_method_handler(_refuse)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's own handler, or one that refuses."""
        if handler_call_details.method == OPEN_TO_ALL or self._shown(
            handler_call_details.invocation_metadata
        ):
            return await continuation(handler_call_details)
        self._refused(handler_call_details.method)
        return self._refusal

    def _shown(self, metadata: Any) -> bool:
        given = [value for key, value in metadata if key == HEADER]
        if len(given) != 1 or not isinstance(given[0], str):
            return False
        scheme, _, token = given[0].partition(" ")
        return scheme.lower() == "bearer" and self._tokens.know(token)


async def _refuse(_: Any, context: grpc.aio.ServicerContext) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "the metadata should hold authorization: Bearer TOKEN"
    )


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that shows a token; raises CredentialsError where it is none."""
    return ((HEADER, f"Bearer {_checked(token, 'the token')}"),)


def read_tokens(path: Path) -> list[str]:
    """The tokens in a file, one or more. Raises CredentialsError; its message holds none of them.

    The file should be closed to all but its owner.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise CredentialsError(f"{path}: cannot be read ({error.strerror})") from error
    if mode & 0o077:
        raise CredentialsError(
            f"{path}: has mode {mode:04o}, open to others than its owner; should be 0600"
        )
    if len(content) > _LARGEST_FILE:
        raise CredentialsError(f"{path}: has more than {_LARGEST_FILE} bytes")
    lines = enumerate(content.decode("ascii", "replace").splitlines(), start=1)
    given = [(place, line.strip()) for place, line in lines]
    tokens = [
        _checked(line, f"{path}, line {place}")
        for place, line in given
        if line and not line.startswith("#")
    ]
    if not tokens:
        raise CredentialsError(f"{path}: holds no token; should have one a line")
    return tokens


def client_token(path: Path | None) -> str | None:
    """The token to call with: the one in a file, or else in the environment's ANIRANK_TOKEN.

    Never an argument, which everyone on the machine can see. Raises CredentialsError.
    """
    if path is None:
        token = os.environ.get(VARIABLE)
        return _checked(token, VARIABLE) if token else None
    found = read_tokens(path)
    if len(found) > 1:
        raise CredentialsError(f"{path}: holds {len(found)} tokens, should be the one to call with")
    return found[0]


def _checked(token: str, where: str) -> str:
    if len(token) < SHORTEST or not _TOKEN.fullmatch(token):
        raise CredentialsError(
            f"{where}: not a token, which has {SHORTEST} or more letters, digits or -._~+/=, as "
            "`openssl rand -base64 32` makes it"
        )
    return token


def _digest(token: str) -> bytes:
    # Digests have one length, so that comparing them says nothing of the tokens'.
    return hashlib.sha256(token.encode()).digest()
