"""The client for asyncio."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
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
from anirank.errors import BackendUnavailable, ServingError

_UNWRITTEN = "Internal error from Core"  # grpc.aio's details of a message that it could not write


class AsyncClient:
    """Calls a façade from asyncio; replies, errors and arguments are those of `Client`.

    async with AsyncClient("localhost:50051") as client:
        reply = await client.rank([6, 7, 8], history={1: 9, 5: None})
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
        """As `Client`, in a running event loop."""
        route = Route.to(address, ca, certificate, key, token)
        self._channel, self._metadata = route.aio_channel(), route.metadata
        self._stub = RankingServiceStub(self._channel)
        self._timeout_s, self._retries = timeout_s, retries

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls still in flight are cancelled."""
        await self._channel.close()

    async def rank(
        self, candidate_ids: Iterable[int], **options: Unpack[RankOptions]
    ) -> pb.RankReply:
        """Order the candidates, MyAnimeList ids, as `RankOptions` says."""
        return await self.answer(rank_request(candidate_ids, **options))

    async def recommend(self, **options: Unpack[RecommendOptions]) -> pb.RankReply:
        """Choose from the whole catalogue, as `RecommendOptions` says."""
        return await self.answer(recommend_request(**options))

    async def similar(
        self, anime_ids: Iterable[int], **options: Unpack[SimilarOptions]
    ) -> pb.SimilarReply:
        """What is most like one anime or several, MyAnimeList ids, as `SimilarOptions` says."""
        return await self.answer(similar_request(anime_ids, **options))

    @overload
    async def answer(self, request: Request) -> pb.RankReply: ...

    @overload
    async def answer(self, request: pb.SimilarRequest) -> pb.SimilarReply: ...

    async def answer(self, request: Request | pb.SimilarRequest) -> pb.RankReply | pb.SimilarReply:
        """What `rank`, `recommend` and `similar` make, for who has the message already."""
        methods = {
            pb.RankRequest: self._stub.Rank,
            pb.RecommendRequest: self._stub.Recommend,
            pb.SimilarRequest: self._stub.Similar,
        }
        reply: pb.RankReply | pb.SimilarReply = await self._call(methods[type(request)], request)
        return reply

    async def stream(
        self, requests: AsyncIterable[Request] | Iterable[Request]
    ) -> AsyncGenerator[tuple[int, pb.RankReply | ServingError], None]:
        """Answer many over one stream, as `Client.stream`; `requests` may be asynchronous too."""
        faults: list[Exception] = []
        messages = _messages(requests, self._timeout_s, faults)
        call = self._stub.RankStream(messages, metadata=self._metadata)
        try:
            async for answer in call:
                ok = answer.HasField("reply")
                yield answer.id, answer.reply if ok else error_of_status(answer.status)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INTERNAL and error.details() == _UNWRITTEN:
                raise await self._lost_failure() from error
            raise error_of_call(error) from error
        finally:
            call.cancel()
        for fault in faults:
            raise fault

    async def record_watched(
        self, user_id: int, items: Mapping[int, float | None], request_id: str | None = None
    ) -> pb.RecordWatchedReply:
        """Record what a user has watched; it is kept once this answers.

        items: rating by anime id, None = not rated. request_id: under which it counts once, however
        often it is sent; a new one unless given.

        Raises Forbidden where the token may not write, HistoriesOff where the server keeps none.
        After BackendUnavailable and DeadlinePassed, send it again with the same `request_id`.
        """
        request = record_request(user_id, items, request_id)
        reply: pb.RecordWatchedReply = await self._call(self._stub.RecordWatched, request)
        return reply

    async def get_history(self, user_id: int) -> pb.GetHistoryReply:
        """What requests of a user are ranked by, recorded or stored. Raises HistoriesOff."""
        request = pb.GetHistoryRequest(user_id=user_id)
        reply: pb.GetHistoryReply = await self._call(self._stub.GetHistory, request)
        return reply

    async def forget(self, user_id: int) -> pb.ForgetReply:
        """Forget a user, for good. Raises as `record_watched`; to do it again does no harm."""
        request = pb.ForgetRequest(user_id=user_id)
        reply: pb.ForgetReply = await self._call(self._stub.Forget, request)
        return reply

    async def model_info(self, model_version: str = "") -> pb.ModelInfo:
        """Which model answers, its limits and its profile fields; of a version, or the newest."""
        request = pb.GetModelInfoRequest(model_version=model_version)
        info: pb.ModelInfo = await self._call(self._stub.GetModelInfo, request)
        return info

    async def _lost_failure(self) -> ServingError:
        """Why the server ended a stream, where grpc.aio has lost its status.

        It does so where the call ends while a message is written. What ends a stream ends other
        calls too, so that one of them says why.
        """
        try:
            await self.model_info()
        except ServingError as error:
            return error
        return BackendUnavailable("the server ended the stream while it was written to; ask again")

    async def _call(self, method: Any, request: Any) -> Any:
        tries = Tries.within(self._timeout_s, self._retries)
        while True:
            try:
                return await method(request, timeout=tries.left_s(), metadata=self._metadata)
            except grpc.RpcError as error:
                failure = error_of_call(error)
                if (pause_s := tries.pause_s(failure)) is None:
                    raise failure from error
            await asyncio.sleep(pause_s)


async def _messages(
    requests: AsyncIterable[Request] | Iterable[Request], timeout_s: float, faults: list[Exception]
) -> AsyncIterator[pb.RankStreamRequest]:
    """The messages of a stream, which end where `requests` fail; why is put into `faults`."""
    place = 0
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                yield stream_request(place, request, timeout_s)
                place += 1
        else:
            for request in requests:
                yield stream_request(place, request, timeout_s)
                place += 1
    except Exception as fault:  # grpc.aio would cancel the call, and its caller, without a word
        faults.append(fault)
