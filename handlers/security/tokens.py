"""Bearer tokens: who shows one of those in a file may call."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc

from anirank.client.tokens import HEADER, read_tokens
from handlers.security.reloading import Reloading

# Whether the server is there is no secret, and probes carry no token. Health's Watch does need
# one: a stream stays open, and many would take the places of those who may call.
OPEN_TO_ALL = "/grpc.health.v1.Health/Check"


class Tokens:
    """The tokens in a file, read again when it changes.

    One token a line, and behind it the rights it has beside asking; empty lines and lines that
    begin with # say nothing. Only digests of them are kept in memory.
    """

    def __init__(self, path: Path) -> None:
        """Read from `path`; raises CredentialsError where that is not a file of tokens."""
        self._file = Reloading(
            (path,),
            lambda: [(_digest(token), rights) for token, rights in read_tokens(path).items()],
        )

    def accepts_header(self, header: str, right: str | None = None) -> bool:
        """Whether a header `authorization` shows one of them, `Bearer TOKEN`, with a right."""
        scheme, _, token = header.partition(" ")
        return scheme.lower() == "bearer" and self.accepts(token, right)

    def accepts(self, token: str, right: str | None = None) -> bool:
        """Whether it is one of them, and has a right; takes as long whichever it is, or if none."""
        known = False
        digest = _digest(token)
        for each, rights in self._file.current():
            known |= hmac.compare_digest(each, digest) and (right is None or right in rights)
        return known

    def accepts_call(self, metadata: Iterable[tuple[str, str | bytes]], right: str | None) -> bool:
        """Whether the metadata of a call show one of them, and it has a right."""
        given = [value for key, value in metadata if key == HEADER]
        if len(given) != 1 or not isinstance(given[0], str):
            return False
        return self.accepts_header(given[0], right)


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Ends with UNAUTHENTICATED what does not carry a token, before its message is read."""

    def __init__(self, tokens: Tokens, refused: Callable[[str], None]) -> None:
        """Let through who shows one of `tokens`, whatever the method, and health checks.

        refused: is given the path of each method that is refused.
        """
        self._tokens = tokens
        self._refused = refused
        self._refusal: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            _refuse
        )

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """The method's own handler, or one that refuses."""
        if handler_call_details.method == OPEN_TO_ALL or self._tokens.accepts_call(
            handler_call_details.invocation_metadata, None
        ):
            return await continuation(handler_call_details)
        self._refused(handler_call_details.method)
        return self._refusal


async def _refuse(_: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED, "the metadata should hold authorization: Bearer TOKEN"
    )


def _digest(token: str) -> bytes:
    # Digests have one length, so that comparing them says nothing of the tokens'.
    return hashlib.sha256(token.encode()).digest()
