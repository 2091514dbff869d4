"""Ranking with a bundle in this process, through the messages of the façade."""

from collections.abc import Sequence
from pathlib import Path

from anime.ranking.v1 import ranking_pb2 as pb

from handlers import messages
from handlers.bundle import ONNX, Bundle
from handlers.engine import Engine
from handlers.errors import InvalidQuery
from handlers.graph import OnnxGraph


class LocalRanker:
    """Answers the requests of `anime.ranking.v1` without a server.

    reply = LocalRanker(Path("model_store/anime/1")).answer(pb.RecommendRequest(user_id=366396))
    """

    def __init__(self, folder: Path, trust: Sequence[Path] = ()) -> None:
        """Open the bundle in `folder`; `trust` as in `Bundle.open`. Raises BundleError."""
        self._bundle = Bundle.open(folder, trust=trust)
        self._engine = Engine(self._bundle, OnnxGraph(self._bundle.graph_file(ONNX)))

    def answer(self, request: pb.RankRequest | pb.RecommendRequest) -> pb.RankReply:
        """The façade's answer. Raises InvalidQuery with the path of what is wrong."""
        fields, limits = self._bundle.manifest.profile, self._engine.limits
        if isinstance(request, pb.RankRequest):
            query = messages.read_rank(request, fields, limits)
        else:
            query = messages.read_recommend(request, fields, limits)
        [ranking] = self._engine.rank([query])
        if isinstance(ranking, InvalidQuery):
            raise ranking
        return messages.write_reply(ranking, self._bundle, queue_s=0.0)
