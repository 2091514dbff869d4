"""The client for asyncio."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import grpc
from anime.ranking.v1 import ranking_pb2 as pb
from anime.ranking.v1.ranking_pb2_grpc import RankingServiceStub

from anirank.client.channel import Route
from anirank.client.failures import failure, failure_of
from anirank.client.requests import (
    RankOptions,
    RecommendOptions,
    Request,
    rank_request,
    recommend_request,
    stream_request,
)
from anirank.errors import ServingError


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
    ) -> None:
        """As `Client`, in a running event loop."""
        route = Route.to(address, ca, certificate, key, token)
        self._channel, self._metadata = route.aio_channel(), route.metadata
        self._stub = RankingServiceStub(self._channel)
        self._timeout_s = timeout_s

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
        """Order the candidates, as `RankOptions` says."""
        return await self.answer(rank_request(candidate_ids, **options))

    async def recommend(self, **options: Unpack[RecommendOptions]) -> pb.RankReply:
        """Choose from the whole catalogue, as `RecommendOptions` says."""
        return await self.answer(recommend_request(**options))

    async def answer(self, request: Request) -> pb.RankReply:
        """What `rank` and `recommend` make, for who has the message already."""
        is_rank = isinstance(request, pb.RankRequest)
        method = self._stub.Rank if is_rank else self._stub.Recommend
        reply: pb.RankReply = await self._call(method, request)
        return reply

    async def stream(
        self, requests: AsyncIterable[Request] | Iterable[Request]
    ) -> AsyncIterator[tuple[int, pb.RankReply | ServingError]]:
        """Answer many over one stream, as `Client.stream`; `requests` may be asynchronous too."""
        call = self._stub.RankStream(_messages(requests, self._timeout_s), metadata=self._metadata)
        try:
            async for answer in call:
                ok = answer.HasField("reply")
                yield answer.id, answer.reply if ok else failure_of(answer.status)
        except grpc.RpcError as error:
            raise failure(error) from error
        finally:
            call.cancel()

    async def model_info(self) -> pb.ModelInfo:
        """Which model answers, its limits and its profile fields."""
        info: pb.ModelInfo = await self._call(self._stub.GetModelInfo, pb.GetModelInfoRequest())
        return info

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise failure(error) from error


async def _messages(
    requests: AsyncIterable[Request] | Iterable[Request], timeout_s: float
) -> AsyncIterator[pb.RankStreamRequest]:
    place = 0
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield stream_request(place, request, timeout_s)
            place += 1
    else:
        for request in requests:
            yield stream_request(place, request, timeout_s)
            place += 1
