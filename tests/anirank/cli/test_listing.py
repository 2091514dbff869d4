import re
from io import StringIO

import pytest
from rich.console import Console

from anirank.cli.listing import listing
from anirank.client.requests import rank_request, recommend_request
from anirank.contract import ranking_pb2 as pb
from handlers.local import LocalRanker


@pytest.fixture(scope="module")
def ranker(toy_dir):
    return LocalRanker(toy_dir)


def shown(request, reply):
    """The lines of a listing on a wide terminal."""
    written = StringIO()
    Console(file=written, width=200).print(listing(request, reply))
    return [line.strip() for line in written.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "a visitor"),
        ({"user_id": 20}, "user 20: known, by {stored} watched anime"),
        ({"user_id": 7}, "user 7 is not known: ranked as a visitor"),
        ({"user_id": 0}, "user 0 is not known: ranked as a visitor"),
        ({"history": {3: 9, 6: None, 4: 8}}, "a visitor, by 2 of the 3 anime given"),
        ({"history": {4: 8, 5: 8}}, "a visitor, by 0 of the 2 anime given"),
        ({"user_id": 20, "history": {3: 9}}, "user 20: known, by the 1 anime given"),
        (
            {"user_id": 7, "history": {3: 9, 4: 9}},
            "user 7 is not known: ranked as a visitor, by 1 of the 2 anime given",
        ),
    ],
)
def test_a_list_says_how_the_user_was_known(ranker, toy, request_, said):
    request = recommend_request(**request_)
    lines = shown(request, ranker.answer(request))
    assert lines[0] == said.format(stored=len(toy.histories.of(20)[0]))
    unknown = [each for each in request_.get("history", {}) if each in (4, 5)]
    told = f"history not in the catalogue: {', '.join(map(str, unknown))}"
    assert (told in lines) == bool(unknown)


def test_a_model_that_takes_no_history_is_said_to(ranker):
    request = recommend_request(history={3: 9, 4: 9})
    reply = pb.RankReply(familiarity=pb.FAMILIARITY_NEW, unknown_history=[4])
    assert shown(request, reply)[0] == (
        "a visitor, without the history given: the model takes none"
    )


def test_the_order_can_be_seen_from_the_scores(ranker):
    request = rank_request(range(1, 90, 2), user_id=20)
    reply = ranker.answer(request)
    ratings = [anime.rating for anime in reply.ranking]
    assert ratings != sorted(ratings, reverse=True)
    lines = shown(request, reply)
    assert re.search("genres +┃ +score ┃ +rating ┃", "\n".join(lines))
    rows = [re.findall(r"│ +(\S+) │ +(\S+) │$", line) for line in lines if line.startswith("│")]
    numbers = [(float(score), float(rating)) for [(score, rating)] in rows]
    assert numbers == [
        (float(f"{anime.score:.2f}"), float(f"{anime.rating:.2f}")) for anime in reply.ranking
    ]
    assert "ordered by score: the affinity blended with the predicted rating" in lines
    assert [line for line in lines if line.startswith("not in the catalogue: 1, 5, 7,")]


@pytest.mark.parametrize(
    ("objective", "said"), [("RATING", "the predicted rating"), ("AFFINITY", "the affinity")]
)
def test_what_the_score_is_is_said(ranker, objective, said):
    request = recommend_request(objective=objective, top_k=1)
    assert f"ordered by score: {said}" in shown(request, ranker.answer(request))


def test_square_brackets_in_titles_and_reasons_are_shown(ranker):
    request = recommend_request(explain=True)
    watched = pb.WatchedAnime(title="[K]", rating=9)
    anime = pb.RankedAnime(title="[bold]", reasons=[pb.Reason(anime=watched)])
    [row] = [line for line in shown(request, pb.RankReply(ranking=[anime])) if "│" in line]
    assert "[bold]" in row
    assert "because you rated [K] 9" in row
