"""A reply that is put together is the one that protobuf writes."""

import numpy as np
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from anirank.contract import ranking_pb2 as pb
from bundles.bundle import Bundle
from handlers.engine.query import Familiarity, Query, Ranking
from handlers.forms.replies import Replies

SCORES = st.floats(width=32, allow_nan=False)

UNKNOWN = st.lists(st.integers(1, 2**40), max_size=3).map(lambda ids: np.array(ids, np.int64))


def written(ranking: Ranking, bundle: Bundle) -> pb.RankReply:
    """The reply, made message by message."""
    of = bundle.catalogue
    return pb.RankReply(
        ranking=[
            pb.RankedAnime(
                anime_id=int(ranking.anime_ids[i]),
                title=of.titles[row],
                genres=of.genres[row],
                score=float(ranking.scores[i]),
                rating=float(ranking.ratings[i]),
                affinity=float(ranking.affinities[i]),
                wide=float(ranking.wides[i]),
            )
            for i, row in enumerate(of.rows(ranking.anime_ids).tolist())
        ],
        unknown_candidates=ranking.unknown_candidates.tolist(),
        familiarity=int(ranking.familiarity),  # type: ignore[arg-type]  # the numbers are one
        model_version=bundle.manifest.version,
        queue_time=Duration(nanos=500_000_000),
        compute_time=Duration(nanos=250_000_000),
        unknown_history=ranking.unknown_history.tolist(),
        history_size=ranking.history_size,
    )


@given(data=st.data())
def test_a_reply_is_read_as_it_was_meant(toy, data):
    ids = data.draw(st.lists(st.sampled_from(toy.catalogue.anime_id.tolist()), max_size=200))
    scores = st.lists(SCORES, min_size=len(ids), max_size=len(ids))
    columns = [np.array(data.draw(scores), np.float32) for _ in range(4)]
    ranking = Ranking(
        anime_ids=np.array(ids, np.int64),
        scores=columns[0],
        ratings=columns[1],
        affinities=columns[2],
        wides=columns[3],
        unknown_candidates=np.array(
            data.draw(st.lists(st.integers(1, 2**40), max_size=3)), np.int64
        ),
        unknown_history=np.array(data.draw(st.lists(st.integers(1, 2**40), max_size=3)), np.int64),
        history_size=data.draw(st.integers(0, 2**31)),
        familiarity=data.draw(st.sampled_from(Familiarity)),
        compute_s=0.25,
    )
    reply = pb.RankReply.FromString(Replies(toy).write(ranking, 0.5))
    # By bytes, since 0.0 and -0.0 are one to protobuf's own comparison, and not to these.
    expected = pb.RankReply.FromString(written(ranking, toy).SerializeToString())
    for entry in (*reply.ranking, *expected.ranking):
        for name in ("score", "rating", "affinity", "wide"):
            setattr(entry, name, getattr(entry, name) + 0.0)
    assert reply == expected


def test_reasons_stand_in_the_reply(engine, toy):
    [ranking] = engine.rank([Query(user_id=10, top_k=5, explain=True)])
    assert isinstance(ranking, Ranking)
    assert ranking.reasons is not None
    reply = pb.RankReply.FromString(Replies(toy).write(ranking, 0.0))
    assert sum(len(entry.reasons) for entry in reply.ranking) == len(ranking.reasons.contributions)
    rests = [entry.rest for entry in reply.ranking]
    np.testing.assert_array_equal(rests, ranking.reasons.rests)
