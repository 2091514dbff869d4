"""A RankReply's bytes, with what never changes of an anime encoded once.

protobuf makes an object of every anime of a reply; of ten anime these cost twice what all else of
it does. The id, title and genres of an anime are the same in every reply, and its four scores take
the same room in each, so that an anime is put together here
(https://protobuf.dev/programming-guides/encoding). All else is protobuf's own.
"""

import numpy as np
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from anirank.contract import ranking_pb2 as pb
from bundles.bundle import Bundle
from handlers.engine.explanations import Explanation, Reason, explanations
from handlers.engine.query import Familiarity, LiveHistory, Ranking

_FAMILIARITIES = {
    Familiarity.KNOWN: pb.FAMILIARITY_KNOWN,
    Familiarity.NEW_WITH_HISTORY: pb.FAMILIARITY_NEW_WITH_HISTORY,
    Familiarity.NEW: pb.FAMILIARITY_NEW,
}
LIVE_HISTORIES = {
    LiveHistory.UNSPECIFIED: pb.LIVE_HISTORY_UNSPECIFIED,
    LiveHistory.NONE: pb.LIVE_HISTORY_NONE,
    LiveHistory.COUNTED: pb.LIVE_HISTORY_COUNTED,
    LiveHistory.UNAVAILABLE: pb.LIVE_HISTORY_UNAVAILABLE,
}
_RANKING = pb.RankReply.RANKING_FIELD_NUMBER << 3 | 2  # the tag of a message
# RankedAnime's scores, each behind its tag of a fixed32.
_TAGS = {
    name: pb.RankedAnime.DESCRIPTOR.fields_by_name[name].number << 3 | 5
    for name in ("score", "rating", "affinity", "wide")
}
_SCORES = np.dtype([part for name in _TAGS for part in ((f"{name}_tag", "u1"), (name, "<f4"))])


class Replies:
    """Writes the replies of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        """Encode an anime of `bundle` when it is first answered."""
        self._bundle = bundle
        self._heads: dict[int, bytes] = {}
        self._version = bundle.manifest.version

    def write(self, ranking: Ranking, queue_s: float) -> bytes:
        """The reply to a request that waited `queue_s` seconds for its batch."""
        ids = ranking.anime_ids.tolist()
        packed, width = _scores(ranking), _SCORES.itemsize
        scores = [packed[at : at + width] for at in range(0, len(packed), width)]
        if ranking.reasons is None:
            parts = [self._head(anime) + of for anime, of in zip(ids, scores, strict=True)]
        else:
            explained = map(_explained, explanations(ranking, self._bundle))
            parts = [
                _tagged(self._anime(anime) + of + why)
                for anime, of, why in zip(ids, scores, explained, strict=True)
            ]
        rest = pb.RankReply(
            unknown_candidates=ranking.unknown_candidates.tolist(),
            familiarity=_FAMILIARITIES[ranking.familiarity],
            model_version=self._version,
            queue_time=duration(queue_s),
            compute_time=duration(ranking.compute_s),
            unknown_history=ranking.unknown_history.tolist(),
            history_size=ranking.history_size,
            live_history=LIVE_HISTORIES[ranking.live_history],
        )
        parts.append(rest.SerializeToString())
        return b"".join(parts)

    def _head(self, anime: int) -> bytes:
        """The entry of an anime, by its id, up to its scores, which stand last in it."""
        head = self._heads.get(anime)
        if head is None:
            whole = _tagged(self._anime(anime) + bytes(_SCORES.itemsize))
            head = self._heads[anime] = whole[: -_SCORES.itemsize]
        return head

    def _anime(self, anime: int) -> bytes:
        """What every reply says of an anime, by its id."""
        of = self._bundle.catalogue
        [row] = of.rows(np.array([anime])).tolist()
        said = pb.RankedAnime(anime_id=anime, title=of.titles[row], genres=of.genres[row])
        return bytes(said.SerializeToString())


def _scores(ranking: Ranking) -> bytes:
    """The scores of all the anime, `_SCORES.itemsize` bytes each."""
    packed: NDArray[np.void] = np.empty(len(ranking.anime_ids), _SCORES)
    columns = (ranking.scores, ranking.ratings, ranking.affinities, ranking.wides)
    for (name, tag), column in zip(_TAGS.items(), columns, strict=True):
        packed[f"{name}_tag"], packed[name] = tag, column
    return packed.tobytes()


def _tagged(entry: bytes) -> bytes:
    """An anime as an entry of the ranking; its length, seven bits a byte, goes before it."""
    length, head = len(entry), bytearray((_RANKING,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + entry


def _explained(explanation: Explanation | None) -> bytes:
    assert explanation is not None, "of a ranking that has reasons"
    reasons = map(_reason, explanation.reasons)
    return bytes(pb.RankedAnime(reasons=reasons, rest=explanation.rest).SerializeToString())


def _reason(reason: Reason) -> pb.Reason:
    if reason.genre is not None:
        return pb.Reason(genre=reason.genre, contribution=reason.contribution)
    anime = pb.WatchedAnime(anime_id=reason.anime_id, title=reason.title, rating=reason.rating)
    return pb.Reason(anime=anime, contribution=reason.contribution)


def duration(seconds: float) -> Duration:
    """Seconds as a message."""
    whole, rest = divmod(int(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=rest)
