"""Ranking with a bundle in this process, through the messages of the façade."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import overload

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from handlers.engine.loading import load
from handlers.engine.query import Limits
from handlers.forms import messages
from handlers.forms.replies import Replies
from handlers.forms.similar import read_similar, write_similar


class LocalRanker:
    """Answers the requests of `anime.ranking.v1` without a server.

    reply = LocalRanker(Path("model_store/anime/1")).answer(pb.RecommendRequest(user_id=366396))
    """

    def __init__(self, folder: Path, trust: Sequence[Path] = ()) -> None:
        """Open the bundle in `folder`; `trust` as in `Bundle.open`. Raises BundleError."""
        # For one answer a graph is loaded sooner than code is compiled for the first time.
        engine = "auto" if find_spec("onnxruntime") is None else "onnxruntime"
        self._engine = load(folder, engine=engine, trust=trust)
        self._bundle = self._engine.bundle
        self._replies = Replies(self._bundle)

    @property
    def limits(self) -> Limits:
        """What one request may hold."""
        return self._engine.limits

    @overload
    def answer(self, request: pb.RankRequest | pb.RecommendRequest) -> pb.RankReply: ...

    @overload
    def answer(self, request: pb.SimilarRequest) -> pb.SimilarReply: ...

    def answer(
        self, request: pb.RankRequest | pb.RecommendRequest | pb.SimilarRequest
    ) -> pb.RankReply | pb.SimilarReply:
        """The façade's answer. Raises InvalidQuery with the path of what is wrong."""
        fields, limits = self._bundle.manifest.profile, self._engine.limits
        if isinstance(request, pb.SimilarRequest):
            return self._similar(request)
        if isinstance(request, pb.RankRequest):
            query = messages.read_rank(request, fields, limits)
        else:
            query = messages.read_recommend(request, fields, limits)
        [ranking] = self._engine.rank([query])
        if isinstance(ranking, InvalidQuery):
            raise ranking
        return pb.RankReply.FromString(self._replies.write(ranking, queue_s=0.0))

    def _similar(self, request: pb.SimilarRequest) -> pb.SimilarReply:
        [ranking] = self._engine.similar([read_similar(request, self._engine.limits)])
        if isinstance(ranking, InvalidQuery):
            raise ranking
        return pb.SimilarReply.FromString(write_similar(ranking, self._bundle, queue_s=0.0))
