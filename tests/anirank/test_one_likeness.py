"""What is alike is the same, whichever way it is asked."""

import re

import grpc
import numpy as np
import pytest

import anirank as library
from anirank.client.requests import FilterOptions
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.contract.ranking_pb2_grpc import RankingServiceStub
from anirank.errors import InvalidQuery
from export.bundle import Exported
from handlers.filters.filter import Filter, Values
from handlers.similar.query import Likeness, SimilarQuery
from tests.anirank.program import anirank, facade

UNKNOWN = 10**14
Told = list[tuple[object, ...]]


def told_by(reply: pb.SimilarReply) -> Told:
    """Of each anime its id, its three numbers, and what it has in common."""
    assert list(reply.unknown_anime) == [UNKNOWN]
    return [
        (
            *(anime.anime_id, anime.score, anime.crosses, anime.vectors),
            *(tuple(anime.shared_genres), tuple(anime.shared_studios)),
            tuple((each.anime_id, each.weight) for each in anime.watched_together),
        )
        for anime in reply.ranking
    ]


@pytest.mark.parametrize("likeness", ["BOTH", "CROSSES", "VECTORS"])
def test_one_request_has_one_answer_everywhere(personal_bundle: Exported, likeness) -> None:
    folder = personal_bundle.folder
    watched = np.load(folder / "histories" / "anime_id.npy")
    ids, counts = np.unique(watched, return_counts=True)
    asked = [*ids[np.argsort(-counts)][:3].tolist(), UNKNOWN]
    told: dict[str, Told] = {}
    given = ["--top", "12", "--without", "types=Movie"]
    given += ["--by", likeness.lower()] if likeness != "BOTH" else []  # which it is by default

    with facade(folder.parents[1]) as address:
        request = pb.SimilarRequest(anime_ids=asked, top_k=12, likeness=f"LIKENESS_{likeness}")
        request.filter.types.none.append("Movie")
        with grpc.insecure_channel(address) as channel:
            told["gRPC"] = told_by(RankingServiceStub(channel).Similar(request, timeout=30))
        with Client(address, timeout_s=30) as client:
            without: FilterOptions = {"types": {"none": ["Movie"]}}
            reply = client.similar(asked, top_k=12, likeness=likeness, filter=without)
            told["client"] = told_by(reply)
        ids_given = ",".join(map(str, asked))
        there = anirank("similar", ids_given, *given, "--address", address)
    here = anirank("similar", ids_given, *given, "--bundle", folder)

    query = SimilarQuery(
        np.array(asked), 12, Likeness[likeness], filter=Filter(types=Values(none=("Movie",)))
    )
    [found] = library.load(folder).similar([query])
    assert not isinstance(found, InvalidQuery)
    assert found.unknown.tolist() == [UNKNOWN]
    columns = (found.anime_ids, found.scores, found.crosses, found.vectors)
    embedded: Told = [
        (*numbers, *common)
        for *numbers, common in zip(
            *(column.tolist() for column in columns), found.common, strict=True
        )
    ]
    assert len(embedded) == 12
    for way, answer in told.items():
        assert answer == embedded, way
    assert (here.returncode, there.returncode) == (0, 0), here.stderr
    assert here.stdout == there.stdout
    rows = [int(row) for row in re.findall(r"^│ +\d+ │ +(\d+) │", here.stdout, re.MULTILINE)]
    assert rows == found.anime_ids.tolist()
    assert f"not in the catalogue: {UNKNOWN}" in here.stdout
    assert "watched by the same people as" in re.sub(r"[│\s]+", " ", here.stdout)


def test_a_model_without_history_says_that_it_cannot(exported: Exported) -> None:
    done = anirank("similar", "1", "--bundle", exported.folder)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "anirank: likeness: this model has neither crosses nor vectors to tell it by"
    ]
