"""The client for programs that wait for each answer."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack, overload

import grpc

from anirank.client.channel import Route
from anirank.client.failures import error_of_call, error_of_status
from anirank.client.requests import (
    RankOptions,
    RecommendOptions,
    Request,
    SimilarOptions,
    rank_request,
    recommend_request,
    record_request,
    similar_request,
    stream_request,
)
from anirank.client.retries import Tries
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import ServingError


class Client:
    """Calls a façade; replies are the messages of `anime.ranking.v1`.

    with Client("localhost:50051") as client:
        reply = client.rank([6, 7, 8], history={1: 9, 5: None})

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
        retries: int = 2,
    ) -> None:
        """Call `address`, HOST:PORT, and wait up to `timeout_s` seconds for each answer.

        retries: how many times more to ask where the server is full and says when to come back,
        within `timeout_s` all told; not for what goes over a stream, which waits there.
        ca: PEM file of the authorities that may vouch for the server; without it there is no TLS.
        certificate, key: PEM files of what to show a server that asks. token: goes with every call.
        Raises CredentialsError where one of these cannot be used, or where the token would leave
        this machine unencrypted.
        """
        route = Route.to(address, ca, certificate, key, token)
        self._channel, self._metadata = route.channel(), route.metadata
        self._stub = RankingServiceStub(self._channel)
        self._timeout_s, self._retries = timeout_s, retries

    def __enter__(self) -> "Client":
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

    def rank(self, candidate_ids: Iterable[int], **options: Unpack[RankOptions]) -> pb.RankReply:
        """Order the candidates, MyAnimeList ids, as `RankOptions` says."""
        return self.answer(rank_request(candidate_ids, **options))

    def recommend(self, **options: Unpack[RecommendOptions]) -> pb.RankReply:
        """Choose from the whole catalogue, as `RecommendOptions` says."""
        return self.answer(recommend_request(**options))

    def similar(
        self, anime_ids: Iterable[int], **options: Unpack[SimilarOptions]
    ) -> pb.SimilarReply:
        """What is most like one anime or several, MyAnimeList ids, as `SimilarOptions` says."""
        return self.answer(similar_request(anime_ids, **options))

    @overload
    def answer(self, request: Request) -> pb.RankReply: ...

    @overload
    def answer(self, request: pb.SimilarRequest) -> pb.SimilarReply: ...

    def answer(self, request: Request | pb.SimilarRequest) -> pb.RankReply | pb.SimilarReply:
        """What `rank`, `recommend` and `similar` make, for who has the message already."""
        methods = {
            pb.RankRequest: self._stub.Rank,
            pb.RecommendRequest: self._stub.Recommend,
            pb.SimilarRequest: self._stub.Similar,
        }
        reply: pb.RankReply | pb.SimilarReply = self._call(methods[type(request)], request)
        return reply

    def stream(
        self, requests: Iterable[Request]
    ) -> Generator[tuple[int, pb.RankReply | ServingError], None, None]:
        """Answer many over one stream, each as soon as it is ready: its place, and its reply.

        for place, outcome in client.stream(pb.RecommendRequest(user_id=user) for user in users):
            ...

        A request that cannot be answered has its error for an outcome, and the others go on. The
        server takes up so many at a time (`Limits.streamed`), and `requests` is read as it does; it
        holds back who does not read the answers. Each answer has `timeout_s` seconds, the stream as
        long as it takes; left early, it is cancelled. Raises what ends the stream itself, and what
        `requests` raise, once those before have their answers.
        """
        faults: list[Exception] = []
        messages = _messages(requests, self._timeout_s, faults)
        call = self._stub.RankStream(messages, metadata=self._metadata)
        try:
            for answer in call:
                ok = answer.HasField("reply")
                yield answer.id, answer.reply if ok else error_of_status(answer.status)
        except grpc.RpcError as error:
            raise error_of_call(error) from error
        finally:
            call.cancel()
        for fault in faults:
            raise fault

    def record_watched(
        self, user_id: int, items: Mapping[int, float | None], request_id: str | None = None
    ) -> pb.RecordWatchedReply:
        """Record what a user has watched; it is kept once this answers.

        items: rating by anime id, None = not rated. request_id: under which it counts once, however
        often it is sent; a new one unless given.

        Raises Forbidden where the token may not write, HistoriesOff where the server keeps none.
        After BackendUnavailable and DeadlinePassed, send it again with the same `request_id`.
        """
        request = record_request(user_id, items, request_id)
        reply: pb.RecordWatchedReply = self._call(self._stub.RecordWatched, request)
        return reply

    def get_history(self, user_id: int) -> pb.GetHistoryReply:
        """What requests of a user are ranked by, recorded or stored. Raises HistoriesOff."""
        request = pb.GetHistoryRequest(user_id=user_id)
        reply: pb.GetHistoryReply = self._call(self._stub.GetHistory, request)
        return reply

    def forget(self, user_id: int) -> pb.ForgetReply:
        """Forget a user, for good. Raises as `record_watched`; to do it again does no harm."""
        request = pb.ForgetRequest(user_id=user_id)
        reply: pb.ForgetReply = self._call(self._stub.Forget, request)
        return reply

    def model_info(self, model_version: str = "") -> pb.ModelInfo:
        """Which model answers, its limits and its profile fields; of a version, or the newest."""
        request = pb.GetModelInfoRequest(model_version=model_version)
        info: pb.ModelInfo = self._call(self._stub.GetModelInfo, request)
        return info

    def _call(self, method: Any, request: Any) -> Any:
        tries = Tries.within(self._timeout_s, self._retries)
        while True:
            try:
                return method(request, timeout=tries.left_s(), metadata=self._metadata)
            except grpc.RpcError as error:
                failure = error_of_call(error)
                if (pause_s := tries.pause_s(failure)) is None:
                    raise failure from error
            time.sleep(pause_s)


def _messages(
    requests: Iterable[Request], timeout_s: float, faults: list[Exception]
) -> Iterator[pb.RankStreamRequest]:
    """The messages of a stream, which end where `requests` fail; why is put into `faults`."""
    try:
        for place, request in enumerate(requests):
            yield stream_request(place, request, timeout_s)
    except Exception as fault:  # gRPC would end the call as CANCELLED, without a word
        faults.append(fault)
