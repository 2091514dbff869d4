"""The keys that TorchServe writes and asks for."""

import json
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

from anirank.errors import BackendUnavailable
from bundles.files import Stamp, stamp_of

Kind = Literal["inference", "management"]
ANSWER_S = 5.0  # the longest that the management API is waited for


class KeyFile:
    """A TorchServe's `key_file.json`, read again whenever TorchServe has written it anew.

    Two of its keys end after a while (`token_expiration_min`); the third, `API`, is for asking the
    management API to write one of them anew, which ends the old one at once. No message of an
    error holds a key.
    """

    def __init__(self, path: Path, management: str | None = None) -> None:
        """Read from `path`, which need not be there yet.

        management: the URL of the management API, for new keys; None asks for none.
        """
        self.path = path
        self._management = management
        self._entries: dict[str, Any] = {}
        self._stamp: Stamp | None = None
        self._renewing = threading.Lock()

    def key(self, kind: Kind | Literal["API"]) -> str:
        """A key for one of TorchServe's APIs; raises BackendUnavailable where there is none."""
        self._read()
        try:
            return str(self._entries[kind]["key"])
        except (KeyError, TypeError) as error:
            raise BackendUnavailable(f"{self.path}: holds no {kind} key") from error

    def seconds_left(self, kind: Kind) -> float:
        """Seconds until a key ends, by the file; raises BackendUnavailable where it says none."""
        self._read()
        try:
            end = datetime.fromisoformat(self._entries[kind]["expiration time"])
            return (end - datetime.now(UTC)).total_seconds()
        except (KeyError, TypeError, ValueError) as error:
            raise BackendUnavailable(
                f"{self.path}: does not say when its {kind} key ends"
            ) from error

    def replace(self, kind: Kind, refused: str) -> None:
        """Have another key than the one refused; may take `ANSWER_S` seconds.

        The file's, where it has been written anew, else one that the management API gives. Raises
        BackendUnavailable where there is neither.
        """
        with self._renewing:  # so that who comes second finds the first one's
            self._stamp = None
            if self.key(kind) != refused:
                return
            self.renew(kind)
            if self.key(kind) == refused:
                asked, self._management = self._management, None  # it would write one each time
                raise BackendUnavailable(
                    f"{self.path}: holds the old {kind} key after {asked} wrote a new one; "
                    "should be the file that this TorchServe writes"
                )

    def renew(self, kind: Kind) -> None:
        """Have the management API write a new key; may take `ANSWER_S` seconds.

        Raises BackendUnavailable where it does not.
        """
        if self._management is None:
            raise BackendUnavailable(
                f"{self.path}: its {kind} key is refused: it has ended, or is another TorchServe's"
            )
        ask(f"{self._management}/token?type={kind}", self.key("API"))
        self._stamp = None

    def _read(self) -> None:
        """Read the file if it has changed; one half written leaves what was read before."""
        stamp = stamp_of(self.path)
        if stamp is not None and stamp == self._stamp:
            return
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            if not self._entries:
                raise BackendUnavailable(
                    f"{self.path}: cannot be read ({error.strerror})"
                ) from error
        except ValueError:
            pass
        else:
            self._entries, self._stamp = entries, stamp


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would take the key along."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(url: str, key: str, body: bytes | None = None) -> bytes:
    """What a TorchServe's REST API answers within `ANSWER_S` seconds to who shows `key`.

    body: JSON to be posted, None to get. Raises BackendUnavailable, without the key, where it
    answers nothing or an error.
    """
    # Without the proxies of the environment as well, which it is nobody's business to tell a key.
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    headers = {"Authorization": f"Bearer {key}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(url, body, headers)
        with opener.open(request, timeout=ANSWER_S) as reply:
            return bytes(reply.read())
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the answer as well
        raise BackendUnavailable(f"{url}: {error}") from error
