"""A synchronous client of the façade."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from anime.ranking.v1 import ranking_pb2 as pb
from anime.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from handlers.addresses import is_local
from handlers.errors import (
    AddressUnavailable,
    BackendUnavailable,
    CredentialsError,
    DeadlinePassed,
    InvalidQuery,
    Overloaded,
    ServingError,
    Unauthenticated,
)
from handlers.messages import OBJECTIVES
from handlers.query import Objective
from handlers.tls import client_credentials
from handlers.tokens import bearer

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RankingClient:
    """Calls a façade; replies are the messages of `anime.ranking.v1`.

    with RankingClient("localhost:50051") as client:
        reply = client.rank(history={1: 9, 5: None}, candidate_ids=[6, 7, 8])

    Every method raises InvalidQuery with the path of what is wrong in the request, Overloaded with
    the seconds to wait, DeadlinePassed after `timeout_s`, BackendUnavailable where nobody answers,
    Unauthenticated where a token is asked for, and ServingError otherwise.
    """

    def __init__(
        self,
        address: str,
        timeout_s: float = 10.0,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token: str | None = None,
    ) -> None:
        """Call `address`, HOST:PORT, and wait up to `timeout_s` seconds for each answer.

        ca: PEM file of the authorities that may vouch for the server; without it there is no TLS.
        certificate, key: PEM files of what to show a server that asks. token: goes with every call.
        Raises CredentialsError where one of these cannot be used, or where the token would leave
        this machine unencrypted.
        """
        # The reply to 25,000 candidates with their titles is larger than gRPC's 4 MiB.
        unlimited = [("grpc.max_receive_message_length", -1)]
        if ca is not None:
            credentials = client_credentials(ca, certificate, key)
            self._channel = grpc.secure_channel(address, credentials, options=unlimited)
        elif certificate is not None or key is not None:
            raise CredentialsError(f"{certificate or key}: is of no use without an authority")
        elif token is not None and not _local(address):
            raise CredentialsError(f"{address}: the token would go there unencrypted; give a ca")
        else:
            self._channel = grpc.insecure_channel(address, options=unlimited)
        self._metadata = None if token is None else bearer(token)
        self._stub = RankingServiceStub(self._channel)
        self._timeout_s = timeout_s

    def __enter__(self) -> "RankingClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def rank(
        self,
        candidate_ids: Iterable[int],
        *,
        user_id: int | None = None,
        history: Mapping[int, float | None] | None = None,
        profile: Mapping[str, float | str] | None = None,
        top_k: int = 0,
        objective: Objective = Objective.BLENDED,
        explain: bool = False,
    ) -> pb.RankReply:
        """Order the candidates.

        history: rating by anime id, None = watched, not rated. profile: number or category by
        name. top_k: how many to answer, 0 for all. explain: say of each what its wide score comes
        from.
        """
        request = pb.RankRequest(
            user_id=user_id,
            candidate_ids=candidate_ids,
            history=_history(history or {}),
            profile=_profile(profile or {}),
            top_k=top_k,
            objective=OBJECTIVES[objective],
            explain=explain,
        )
        return self.answer(request)

    def recommend(
        self,
        *,
        user_id: int | None = None,
        history: Mapping[int, float | None] | None = None,
        profile: Mapping[str, float | str] | None = None,
        top_k: int = 0,
        objective: Objective = Objective.BLENDED,
        include_seen: bool = False,
        include_adult: bool = False,
        explain: bool = False,
    ) -> pb.RankReply:
        """Choose from the whole catalogue; as `rank`, and top_k 0 answers ten."""
        request = pb.RecommendRequest(
            user_id=user_id,
            history=_history(history or {}),
            profile=_profile(profile or {}),
            top_k=top_k,
            objective=OBJECTIVES[objective],
            include_seen=include_seen,
            include_adult=include_adult,
            explain=explain,
        )
        return self.answer(request)

    def answer(self, request: pb.RankRequest | pb.RecommendRequest) -> pb.RankReply:
        """What `rank` and `recommend` make, for who has the message already."""
        is_rank = isinstance(request, pb.RankRequest)
        method = self._stub.Rank if is_rank else self._stub.Recommend
        reply: pb.RankReply = self._call(method, request)
        return reply

    def stream(
        self, requests: Iterable[pb.RankRequest | pb.RecommendRequest]
    ) -> Iterator[tuple[int, pb.RankReply | ServingError]]:
        """Answer many over one stream, each as soon as it is ready: its place, and its reply.

        for place, outcome in client.stream(pb.RecommendRequest(user_id=user) for user in users):
            ...

        A request that cannot be answered has its error for an outcome, and the others go on. The
        server takes up so many at a time (`Limits.streamed`), and `requests` is read as it does; it
        holds back who does not read the answers. Each answer has `timeout_s` seconds, the stream as
        long as it takes; left early, it is cancelled. Raises what ends the stream itself.

        From asyncio, hand an async generator of RankStreamRequest to `RankStream` of the stub of a
        grpc.aio channel, and iterate over the call it gives.
        """
        timeout = Duration()
        timeout.FromNanoseconds(int(self._timeout_s * 1e9))
        taken = (
            pb.RankStreamRequest(
                id=place,
                timeout=timeout,
                rank=request if isinstance(request, pb.RankRequest) else None,
                recommend=request if isinstance(request, pb.RecommendRequest) else None,
            )
            for place, request in enumerate(requests)
        )
        call = self._stub.RankStream(taken, metadata=self._metadata)
        try:
            for answer in call:
                ok = answer.HasField("reply")
                yield answer.id, answer.reply if ok else _error(answer.status)
        except grpc.RpcError as error:
            raise _raised(error) from error
        finally:
            call.cancel()

    def model_info(self) -> pb.ModelInfo:
        """Which model answers, its limits and its profile fields."""
        info: pb.ModelInfo = self._call(self._stub.GetModelInfo, pb.GetModelInfoRequest())
        return info

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _raised(error) from error


def _local(address: str) -> bool:
    try:
        return is_local(address)
    except AddressUnavailable:  # of a form that gRPC may know and we do not
        return False


def _history(ratings: Mapping[int, float | None]) -> list[pb.HistoryItem]:
    return [pb.HistoryItem(anime_id=key, rating=rating) for key, rating in ratings.items()]


def _profile(values: Mapping[str, float | str]) -> pb.Profile:
    return pb.Profile(
        numbers={key: value for key, value in values.items() if not isinstance(value, str)},
        categories={key: value for key, value in values.items() if isinstance(value, str)},
    )


def _raised(error: Any) -> ServingError:
    """The error of the same meaning as a call's status."""
    status = rpc_status.from_call(error)
    if status is None:
        code = error.code().value[0]
        status = status_pb2.Status(code=code, message=error.details() or "")
    return _error(status)


def _error(status: status_pb2.Status) -> ServingError:
    """The error of the same meaning as a status."""
    for detail in status.details:
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad) and bad.field_violations:
            return InvalidQuery(bad.field_violations[0].field, bad.field_violations[0].description)
        if detail.Unpack(retry):
            return Overloaded(status.message, retry.retry_delay.ToTimedelta().total_seconds())
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlinePassed(status.message)
    # A call that the caller did not cancel met a server on its end.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return BackendUnavailable(status.message)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated(status.message)
    return ServingError(f"{code.name}: {status.message}")
