"""Bearer tokens: files of them, and what a client shows."""

import os
import re
import stat
from pathlib import Path

from anirank.errors import CredentialsError

HEADER = "authorization"  # of the metadata: ``authorization: Bearer TOKEN``
VARIABLE = "ANIRANK_TOKEN"
SHORTEST = 16  # characters; what is shorter can be guessed

# What a token may do beside asking.
WRITE_HISTORIES = "write-histories"
RIGHTS = frozenset({WRITE_HISTORIES})

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_LARGEST_FILE = 1024 * 1024  # bytes


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata that shows a token; raises CredentialsError where it is none."""
    return ((HEADER, f"Bearer {_check(token, 'the token')}"),)


def read_tokens(path: Path) -> dict[str, frozenset[str]]:
    """The tokens in a file, one or more, and the rights that stand behind each in its line.

    Raises CredentialsError; its message holds no token. The file should be closed to all but its
    owner.
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
    tokens: dict[str, frozenset[str]] = {}
    for place, line in given:
        if line and not line.startswith("#"):
            token, *rights = line.split()
            _check(token, f"{path}, line {place}")
            if not set(rights) <= RIGHTS:  # which may be a token itself, so it is not shown
                raise CredentialsError(
                    f"{path}, line {place}: not a token and its rights, which may be "
                    f"{' or '.join(sorted(RIGHTS))}"
                )
            tokens[token] = tokens.get(token, frozenset()) | frozenset(rights)
    if not tokens:
        raise CredentialsError(f"{path}: holds no token; should have one a line")
    return tokens


def client_token(path: Path | None) -> str | None:
    """The token to call with: the one in a file, or else in the environment's ANIRANK_TOKEN.

    Never an argument, which everyone on the machine can see. Raises CredentialsError.
    """
    if path is None:
        token = os.environ.get(VARIABLE)
        return _check(token, VARIABLE) if token else None
    found = read_tokens(path)
    if len(found) > 1:
        raise CredentialsError(f"{path}: holds {len(found)} tokens, should be the one to call with")
    return next(iter(found))


def _check(token: str, where: str) -> str:
    if len(token) < SHORTEST or not _TOKEN.fullmatch(token):
        raise CredentialsError(
            f"{where}: not a token, which has {SHORTEST} or more letters, digits or -._~+/=, as "
            "`openssl rand -base64 32` makes it"
        )
    return token
