"""One filter leaves the same anime, and one diversity the same list, whichever way it is asked."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from anirank.client.requests import FilterOptions, recommend_request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from export.bundle import Exported
from handlers.torchserve.server import TorchServe
from tests.anirank.program import anirank, facade
from training.tables.tables import Tables

USER = 366396
SOME: FilterOptions = {
    "genres": {"any": ["Action", "Comedy", "Drama"], "none": ["Ecchi"]},
    "types": {"any": ["TV", "Movie", "OVA"]},
    "age_ratings": {"none": ["G - All Ages"]},
    "sources": {"none": ["Game"]},
    "years": {"min": 1990, "max": 2022},
    "episodes": {"max": 26},
    "without_ids": [1, 5, 10**15],
}
DIVERSITY = 0.4
NOTHING: FilterOptions = {"only_ids": []}
WRONG: FilterOptions = {"genres": {"any": ["Action", "Comdey"]}}
ARGUMENTS = {
    "some": [
        *("--with", "genres=Action", "--with", "genres=Comedy", "--with", "genres=Drama"),
        *("--without", "genres=Ecchi", "--with", "types=TV", "--with", "types=Movie"),
        *("--with", "types=OVA", "--without", "age_ratings=G - All Ages"),
        *("--without", "sources=Game", "--years", "1990:2022", "--episodes", ":26"),
        *("--without-ids", f"1,5,{10**15}"),
    ],
    "nothing": ["--only-ids", ""],
}
REASON = "'Comdey' is not known; 'Comedy' is near it"


def answers(reply: pb.RankReply) -> list[tuple[int, float]]:
    return [(anime.anime_id, anime.score) for anime in reply.ranking]


def passes(tables: Tables) -> set[int]:
    """Who passes SOME, by the data."""
    anime = tables.anime
    genres = anime["genres"].map(set)
    first, last = anime["air_start"].dt.year, anime["air_end"].dt.year
    last = last.fillna(9999).where(anime["status"].ne("Finished Airing"), last)
    keep = genres.map(lambda has: bool(has & {"Action", "Comedy", "Drama"}) and "Ecchi" not in has)
    keep &= anime["type"].isin(["TV", "Movie", "OVA"]) & anime["age_rating"].ne("G - All Ages")
    keep &= anime["source"].ne("Game") & (first <= 2022) & (last >= 1990)
    keep &= (anime["episodes"] <= 26) & ~anime["anime_id"].isin([1, 5])
    return {*anime["anime_id"][keep].tolist()}


@pytest.mark.slow
def test_one_filter_leaves_the_same_anime_everywhere(
    personal_bundle: Exported, personal_torchserve: TorchServe, tables: Tables
) -> None:
    folder, torchserve = personal_bundle.folder, personal_torchserve
    candidates = np.load(folder / "catalogue" / "anime_id.npy").tolist()
    asked: dict[str, FilterOptions] = {"some": SOME, "nothing": NOTHING}
    told: dict[str, dict[str, list[tuple[int, float]]]] = {name: {} for name in asked}

    def ask(client: Client, backend: str) -> None:
        for name, each in asked.items():
            chosen = client.recommend(user_id=USER, top_k=10, filter=each, diversity=DIVERSITY)
            told[name][f"Recommend, {backend}"] = answers(chosen)
            request = recommend_request(user_id=USER, top_k=10, filter=each, diversity=DIVERSITY)
            [(_, streamed)] = client.stream([request])
            assert isinstance(streamed, pb.RankReply)
            told[name][f"RankStream, {backend}"] = answers(streamed)
            seen = {anime.anime_id for anime in chosen.ranking}
            whole = client.rank(candidates, user_id=USER, filter=each)
            assert {anime.anime_id for anime in whole.ranking} >= seen
            assert {anime.anime_id for anime in whole.ranking} == (
                passes(tables) if name == "some" else set()
            )
        with pytest.raises(InvalidQuery) as caught:
            client.recommend(filter=WRONG)
        assert (caught.value.field, caught.value.reason) == ("filter.genres.any[1]", REASON)

    running = ("--torchserve", torchserve.grpc_address, "--keys", torchserve.key_file)
    for backend, options in (("embedded", ()), ("torchserve", running)):
        with (
            facade(folder.parents[1], "--backend", backend, *options) as address,
            Client(address, timeout_s=30) as client,
        ):
            ask(client, backend)

    for name, each in asked.items():
        answer = _over_rest(
            torchserve, {"user_id": USER, "top_k": 10, "filter": each, "diversity": DIVERSITY}
        )
        found = [(anime["anime_id"], anime["score"]) for anime in answer["ranking"]]
        told[name]["REST"] = [(anime, float(np.float32(score))) for anime, score in found]
        shown = _shown(folder, ARGUMENTS[name])
        assert shown == [anime for anime, _ in told[name]["REST"]]
    error = _over_rest(torchserve, {"filter": WRONG})["error"]
    assert (error["field"], error["reason"]) == ("filter.genres.any[1]", REASON)

    for name, ways in told.items():
        assert len(ways["REST"]) == (10 if name == "some" else 0)
        for way, ranking in ways.items():
            assert ranking == ways["REST"], (name, way)


def _over_rest(torchserve: TorchServe, item: dict[str, object]) -> dict[str, Any]:
    url = f"{torchserve.rest_address}/predictions/{torchserve.name}"
    headers = {"Authorization": f"Bearer {torchserve.inference_key()}"}
    found = requests.post(url, json=item, headers=headers, timeout=30).json()
    assert isinstance(found, dict)
    return found


def _shown(folder: Path, arguments: list[str]) -> list[int]:
    """The ids that the command line shows."""
    said = anirank(
        "rank",
        "--user",
        str(USER),
        "--top",
        "10",
        "--diversity",
        str(DIVERSITY),
        "--bundle",
        folder,
        *arguments,
    )
    assert said.returncode == 0, said.stderr
    return [int(row) for row in re.findall(r"^│ +\d+ │ +(\d+) │", said.stdout, re.MULTILINE)]
