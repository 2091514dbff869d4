"""The kinds of requests: how each is read, what takes it, and how its answer is written."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from bundles.profile import ProfileField
from handlers.engine.query import Limits, Query, Ranking
from handlers.facade.batching.batcher import Batcher
from handlers.facade.versions.roster import ServedVersion
from handlers.forms import messages, sizes
from handlers.forms.similar import read_similar, write_similar
from handlers.similar.query import SimilarQuery, SimilarRanking


class Kind(Protocol):
    """A kind of request in one form: proto messages, or JSON."""

    @property
    def method(self) -> str:
        """The method that it is counted as."""

    def parse(
        self, body: bytes, limits: Limits, read_apart: messages.ReadApart | None
    ) -> tuple[Any, Any]:
        """The request in a body, which has a `model_version`, and what was read apart of it."""

    def user(self, request: Any) -> int | None:
        """Whom a request is for."""

    def query(self, request: Any, of: ServedVersion, columns: Any) -> Any:
        """What a version is asked; raises InvalidQuery."""

    def batcher(self, of: ServedVersion) -> Batcher[Any, Any]:
        """What takes the query."""

    def write(self, of: ServedVersion, ranking: Any, queue_s: float) -> bytes:
        """The reply."""


class Ranks(NamedTuple):
    """A kind of request that a RankReply answers.

    method: its name. message: its class. candidates: the number of the field that has them, or 0.
    read: makes a query of it.
    """

    method: str
    message: Any
    candidates: int
    read: Callable[[Any, Sequence[ProfileField], Limits, messages.Columns | None], Query]

    def parse(
        self, body: bytes, limits: Limits, read_apart: messages.ReadApart | None
    ) -> tuple[Any, messages.Columns | None]:
        """The message in a body, and its long fields where they are read apart."""
        sizes.check(body, self.candidates, limits)
        apart = None if read_apart is None else read_apart(body, self.candidates)
        rest, columns = (body, None) if apart is None else apart
        return parsed(self.message, rest), columns

    def user(self, request: Any) -> int | None:
        """Whom a request is for."""
        return request.user_id if request.HasField("user_id") else None

    def query(self, request: Any, of: ServedVersion, columns: messages.Columns | None) -> Query:
        """What a version is asked."""
        return self.read(request, of.bundle.manifest.profile, of.limits, columns)

    def batcher(self, of: ServedVersion) -> Batcher[Query, Ranking]:
        """What takes the query."""
        return of.batcher

    def write(self, of: ServedVersion, ranking: Ranking, queue_s: float) -> bytes:
        """The reply."""
        return of.replies.write(ranking, queue_s)


class Alike:
    """The kind of request that a SimilarReply answers; as `Ranks`."""

    method = "Similar"

    def parse(self, body: bytes, limits: Limits, _: object) -> tuple[Any, None]:
        """The message in a body."""
        sizes.check_similar(body, limits)
        return parsed(pb.SimilarRequest, body), None

    def user(self, _: Any) -> None:
        """Nobody: it is the same for all."""

    def query(self, request: Any, of: ServedVersion, _: object) -> SimilarQuery:
        """What a version is asked."""
        return read_similar(request, of.limits)

    def batcher(self, of: ServedVersion) -> Batcher[SimilarQuery, SimilarRanking]:
        """What takes the query."""
        return of.similar

    def write(self, of: ServedVersion, ranking: SimilarRanking, queue_s: float) -> bytes:
        """The reply."""
        return write_similar(ranking, of.bundle, queue_s)


RANK = Ranks("Rank", pb.RankRequest, pb.RankRequest.CANDIDATE_IDS_FIELD_NUMBER, messages.read_rank)
RECOMMEND = Ranks("Recommend", pb.RecommendRequest, 0, messages.read_recommend)
SIMILAR = Alike()


def parsed(kind: Any, body: bytes) -> Any:
    """The message in `body`; raises InvalidQuery where it holds none of that kind."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise InvalidQuery("request", f"is not a {kind.DESCRIPTOR.full_name}") from error
