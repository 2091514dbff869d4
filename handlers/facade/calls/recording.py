"""The methods that record, show and forget what users have watched."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc

from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable, Forbidden, HistoriesOff, ServingError
from handlers.engine.query import Limits
from handlers.facade.calls.kinds import parsed
from handlers.facade.status import FAILURES, Context, abort
from handlers.facade.telemetry.observer import Observer
from handlers.facade.versions.roster import Roster
from handlers.forms import recording, sizes
from handlers.histories.histories import Histories

Metadata = Iterable[tuple[str, str | bytes]]
_Outcome = bytes | ServingError

_OFF = "this server keeps no histories; it is started without --histories"
_FORBIDDEN = (
    "the token has not the right write-histories; without tokens, only this machine may write"
)


class Recording:
    """Answers RecordWatched, GetHistory and Forget; without a store it refuses them all."""

    def __init__(
        self,
        histories: Histories | None,
        roster: Roster,
        limits: Limits,
        observer: Observer,
        may_write: Callable[[Metadata], bool],
        counted: Callable[[_Outcome, Context], _Outcome],
    ) -> None:
        """Answer of `histories`, beside what the versions of `roster` have stored.

        may_write: whether a call may, by its metadata. counted: counts an answer until it is read.
        """
        self._histories = histories
        self._roster = roster
        self._limits = limits
        self._observer = observer
        self._may_write = may_write
        self._counted = counted
        self._ending = False

    def methods(self) -> Mapping[str, Any]:
        """What answers each, by its name."""
        return {
            name: grpc.unary_unary_rpc_method_handler(self._method(name, answer, writes))
            for name, answer, writes in (
                ("RecordWatched", self._record, True),
                ("GetHistory", self._get, False),
                ("Forget", self._forget, True),
            )
        }

    def end(self) -> None:
        """Take no more calls."""
        self._ending = True

    def _method(
        self, name: str, answer: Callable[[Histories, bytes], Awaitable[bytes]], writes: bool
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def method(body: bytes, context: Context) -> bytes:
            with self._observer.request(name, context) as observed:
                outcome: _Outcome
                try:
                    outcome = await answer(self._open_to(context, writes), body)
                except FAILURES as error:
                    outcome = error.settled()
                outcome = self._counted(outcome, context)
                observed.ended_with(outcome)
            if isinstance(outcome, ServingError):
                return await abort(context, outcome)
            return outcome

        return method

    def _open_to(self, context: Context, writes: bool) -> Histories:
        if self._ending:
            raise BackendUnavailable("the server ends; ask again")
        if self._histories is None:
            raise HistoriesOff(_OFF)
        if writes and not self._may_write(context.invocation_metadata() or ()):
            raise Forbidden(_FORBIDDEN)
        return self._histories

    async def _record(self, histories: Histories, body: bytes) -> bytes:
        sizes.check_items(body, self._limits)
        request = parsed(pb.RecordWatchedRequest, body)
        watched = recording.read_watched(request, self._limits)
        return recording.write_recorded(await histories.record(watched))

    async def _get(self, histories: Histories, body: bytes) -> bytes:
        request = parsed(pb.GetHistoryRequest, body)
        user_id = recording.read_user(request.user_id)
        version = self._roster.choose(request.model_version, user_id)
        history = await histories.history(user_id, version.bundle.histories)
        return recording.write_history(history, version.name)

    async def _forget(self, histories: Histories, body: bytes) -> bytes:
        user_id = recording.read_user(parsed(pb.ForgetRequest, body).user_id)
        return recording.write_forgotten(await histories.forget(user_id))
