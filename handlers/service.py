"""The methods of anime.ranking.v1.RankingService."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from anime.ranking.v1 import ranking_pb2 as pb
from google.protobuf.message import DecodeError

from handlers import messages
from handlers.errors import BackendUnavailable, InvalidQuery, ServingError
from handlers.profile import ProfileField
from handlers.query import Limits, Query
from handlers.status import FAILURES, abort
from handlers.versions import Roster

SERVICE = pb.DESCRIPTOR.services_by_name["RankingService"].full_name

_Read = Callable[[Any, Sequence[ProfileField], Limits], Query]

log = logging.getLogger(__name__)


class RankingService:
    """Takes messages as bytes, so that bytes that are no message have an error of their own.

    Each failure leaves with its status and its details.
    """

    def __init__(self, roster: Roster) -> None:
        """Answer with the versions of `roster`."""
        self._roster = roster

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given to answer the service's methods."""
        methods = {
            "Rank": grpc.unary_unary_rpc_method_handler(self.rank),
            "Recommend": grpc.unary_unary_rpc_method_handler(self.recommend),
            "GetModelInfo": grpc.unary_unary_rpc_method_handler(self.get_model_info),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    async def rank(self, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Order the candidates given."""
        return await self._answer(pb.RankRequest, messages.read_rank, body, context)

    async def recommend(self, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Choose from the whole catalogue."""
        return await self._answer(pb.RecommendRequest, messages.read_recommend, body, context)

    async def get_model_info(self, body: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Say which model answers."""
        try:
            request = _parse(pb.GetModelInfoRequest, body)
            return bytes(self._roster.describe(request.model_version).SerializeToString())
        except InvalidQuery as error:
            failure = error
        return await abort(context, failure)

    async def _answer(
        self, kind: Any, read: _Read, body: bytes, context: grpc.aio.ServicerContext
    ) -> bytes:
        try:
            request = _parse(kind, body)
            user_id = request.user_id if request.HasField("user_id") else None
            version = self._roster.choose(request.model_version, user_id)
            query = read(request, version.bundle.manifest.profile, version.limits)
            result, queue_s = await version.batcher.rank(query, context.time_remaining())
            if isinstance(result, InvalidQuery):
                raise result
            reply = messages.write_reply(result, version.bundle, queue_s)
            return bytes(reply.SerializeToString())
        except FAILURES as error:
            failure: ServingError = error
        if isinstance(failure, BackendUnavailable):
            log.error("%s", failure)
        return await abort(context, failure)


def _parse(kind: Any, body: bytes) -> Any:
    """The message in `body`; raises InvalidQuery where it holds none of that kind."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise InvalidQuery("request", f"is not a {kind.DESCRIPTOR.full_name}") from error
