"""The methods that record, show and forget what users have watched."""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable, Forbidden, HistoriesOff, ServingError
from handlers.engine.query import Limits
from handlers.facade.calls.kinds import parsed
from handlers.facade.status import FAILURES
from handlers.facade.telemetry.request import Caller
from handlers.facade.versions.roster import Roster
from handlers.forms import recording, sizes
from handlers.histories.histories import Histories

# Whether a call may write, by its metadata.
MayWrite = Callable[[Iterable[tuple[str, str | bytes]]], bool]

_OFF = "this server keeps no histories; it is started without --histories"
_FORBIDDEN = (
    "the token has not the right write-histories; without tokens, only this machine may write"
)


class RecordingKind(NamedTuple):
    """A method of histories in one form: proto messages, or JSON.

    method: its name. writes: whether it changes what is kept. answer: the answer to a body.
    """

    method: str
    writes: bool
    answer: Callable[["Recording", Histories, bytes], Awaitable[bytes]]


class Recording:
    """Answers what is asked of histories; without a store it refuses all of it.

    roster: the versions, beside whose stored histories they stand. limits: of one request.
    """

    def __init__(
        self,
        histories: Histories | None,
        roster: Roster,
        limits: Limits,
    ) -> None:
        """Answer of `histories`."""
        self.roster, self.limits = roster, limits
        self._histories = histories
        self._ending = False

    def end(self) -> None:
        """Take no more calls."""
        self._ending = True

    async def answer(
        self, kind: RecordingKind, body: bytes, caller: Caller, may_write: MayWrite
    ) -> bytes | ServingError:
        """What one call ends with, in the form of its kind."""
        try:
            return await kind.answer(self, self._open_to(kind, caller, may_write), body)
        except FAILURES as error:
            return error.settled()

    def _open_to(self, kind: RecordingKind, caller: Caller, may_write: MayWrite) -> Histories:
        if self._ending:
            raise BackendUnavailable("the server ends; ask again")
        if self._histories is None:
            raise HistoriesOff(_OFF)
        if kind.writes and not may_write(caller.invocation_metadata() or ()):
            raise Forbidden(_FORBIDDEN)
        return self._histories


async def _record(of: Recording, histories: Histories, body: bytes) -> bytes:
    sizes.check_items(body, of.limits)
    request = parsed(pb.RecordWatchedRequest, body)
    watched = recording.read_watched(request, of.limits)
    return recording.write_recorded(await histories.record(watched))


async def _get(of: Recording, histories: Histories, body: bytes) -> bytes:
    request = parsed(pb.GetHistoryRequest, body)
    user_id = recording.read_user(request.user_id)
    version = of.roster.choose(request.model_version, user_id)
    history = await histories.history(user_id, version.bundle.histories)
    return recording.write_history(history, version.name)


async def _forget(_: Recording, histories: Histories, body: bytes) -> bytes:
    user_id = recording.read_user(parsed(pb.ForgetRequest, body).user_id)
    return recording.write_forgotten(await histories.forget(user_id))


RECORDING = (
    RecordingKind("RecordWatched", True, _record),
    RecordingKind("GetHistory", False, _get),
    RecordingKind("Forget", True, _forget),
)
