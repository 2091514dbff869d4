"""Requests, and what every version answers to each of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from anirank.contract import ranking_pb2 as pb
from benchmarks.load.workload import Lines, Workload
from bundles.bundle import Bundle
from handlers.engine.loading import engine_of
from handlers.engine.query import Query, Ranking

BETAS = (0.0, 0.01, 0.03)  # of the versions in turn, so that they answer differently
REQUESTS = 200
RECOMMENDED = 20  # of them ask for the whole catalogue
TOP_K = 10

Message = pb.RankRequest | pb.RecommendRequest


class Answers:
    """Messages to ask with; each has one right answer a version."""

    def __init__(self, bundle: Bundle) -> None:
        """Compute every answer with engines of the bundle, one for each of `BETAS`."""
        asks = Workload(Lines.read("200"), Lines.read("50"), TOP_K).asks(
            bundle.histories.user_id, bundle.catalogue.anime_id
        )[:REQUESTS]
        queries = [
            Query(
                user_id=ask.user_id or None,
                candidate_ids=None if at < RECOMMENDED else ask.candidate_ids,
                history_ids=ask.history_ids,
                history_ratings=ask.history_ratings,
                top_k=TOP_K,
            )
            for at, ask in enumerate(asks)
        ]
        self.messages: list[Message] = [_message(query) for query in queries]
        self._right = [_answered(bundle, beta, queries) for beta in BETAS]

    def right(self, version: str) -> list[Ranking]:
        """What a version answers, message by message."""
        return self._right[int(version) % len(BETAS)]

    def fault(self, place: int, reply: pb.RankReply) -> str:
        """What is wrong in a reply to the message at a place; nothing where it is right."""
        version = reply.model_version
        if not version.isdecimal():
            return f"version {version!r} answered"
        right = self.right(version)[place]
        found = [entry.anime_id for entry in reply.ranking]
        if found != right.anime_ids.tolist():
            return f"version {version}: {found}, right is {right.anime_ids.tolist()}"
        scores: NDArray[np.float32] = np.array([e.score for e in reply.ranking], np.float32)
        if np.any(np.abs(scores - right.scores) > np.spacing(np.abs(right.scores))):
            return f"version {version}: scores {scores}, right are {right.scores}"
        return ""


def _message(query: Query) -> Message:
    history = [
        pb.HistoryItem(anime_id=anime, rating=None if np.isnan(rating) else rating)
        for anime, rating in zip(
            query.history_ids.tolist(), query.history_ratings.tolist(), strict=True
        )
    ]
    if query.candidate_ids is None:
        return pb.RecommendRequest(user_id=query.user_id, history=history, top_k=TOP_K)
    candidates = query.candidate_ids.tolist()
    return pb.RankRequest(
        user_id=query.user_id, candidate_ids=candidates, history=history, top_k=TOP_K
    )


def _answered(bundle: Bundle, beta: float, queries: Sequence[Query]) -> list[Ranking]:
    version = replace(bundle, manifest=replace(bundle.manifest, beta=beta))
    answers = engine_of(version).rank(queries)
    for answer in answers:
        if not isinstance(answer, Ranking):
            raise answer
    return [answer for answer in answers if isinstance(answer, Ranking)]
