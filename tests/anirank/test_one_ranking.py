"""One request has one ranking, whichever way it is asked."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import requests

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from export.bundle import Exported
from handlers.torchserve.server import TorchServe
from tests.anirank.program import anirank, facade

USER = 366396


@pytest.fixture(
    scope="module",
    params=[("exported", "torchserve"), ("personal_bundle", "personal_torchserve")],
    ids=["seed", "personal"],
)
def served(request: pytest.FixtureRequest) -> tuple[Exported, TorchServe]:
    """What was exported of each preset, and a TorchServe that serves it."""
    exported, server = (request.getfixturevalue(name) for name in request.param)
    return exported, server


class Told(NamedTuple):
    """What a reply says; `ranking` has the id, the score and the genres of each anime."""

    ranking: list[tuple[int, float, str]]
    unknown_candidates: list[int]
    unknown_history: list[int]
    familiarity: str
    history_size: int


def _told_by(reply: pb.RankReply) -> Told:
    return Told(
        [(anime.anime_id, anime.score, anime.genres) for anime in reply.ranking],
        list(reply.unknown_candidates),
        list(reply.unknown_history),
        pb.Familiarity.Name(reply.familiarity).removeprefix("FAMILIARITY_").lower(),
        reply.history_size,
    )


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [None, [5, 1, 10**15, 9]])
def test_one_request_has_one_ranking_everywhere(
    served: tuple[Exported, TorchServe], candidates: list[int] | None
) -> None:
    """By the stored history, and with candidates by a history of which two are not known."""
    exported, torchserve = served
    bundle_dir = exported.folder
    catalogue = np.load(bundle_dir / "catalogue" / "anime_id.npy")
    ids = None if candidates is None else [*catalogue[:40].tolist(), *candidates]
    first, second = catalogue[[50, 60]].tolist()
    history = {} if ids is None else {10**14: 8.0, first: 9.0, second: None, -3: None}
    told: dict[str, Told] = {}

    store = bundle_dir.parents[1]
    running = ("--torchserve", torchserve.grpc_address, "--keys", torchserve.key_file)
    for backend, options in (("embedded", ()), ("torchserve", running)):
        with facade(store, "--backend", backend, *options) as address:
            with Client(address, timeout_s=30) as client:
                if ids is None:
                    reply = client.recommend(user_id=USER, top_k=10)
                else:
                    reply = client.rank(ids, user_id=USER, history=history, top_k=10)
            told[f"gRPC, {backend}"] = _told_by(reply)

    watched = [{"anime_id": anime_id, "rating": rating} for anime_id, rating in history.items()]
    item = {"user_id": USER, "top_k": 10, "history": watched}
    item |= {} if ids is None else {"candidate_ids": ids}
    answer = requests.post(
        f"{torchserve.rest_address}/predictions/{torchserve.name}",
        json=item,
        headers={"Authorization": f"Bearer {torchserve.inference_key()}"},
        timeout=30,
    ).json()
    ranking = [
        (anime["anime_id"], float(np.float32(anime["score"])), anime["genres"])
        for anime in answer["ranking"]
    ]
    told["REST"] = Told(ranking, *(answer[name] for name in Told._fields[1:]))
    alone = told["ONNX"] = _told_by_onnx_alone(bundle_dir, ids, history)

    assert len(alone.ranking) == 10
    for way, found in told.items():
        assert found == alone, way

    arguments = []
    if ids is not None:
        given = [f"{key}:{value}" if value else str(key) for key, value in history.items()]
        arguments = ["--candidates", ",".join(map(str, ids)), "--history", ",".join(given)]
    said = anirank("rank", "--user", str(USER), "--top", "10", "--bundle", bundle_dir, *arguments)
    rows = [int(row) for row in re.findall(r"^│ +\d+ │ +(\d+) │", said.stdout, re.MULTILINE)]
    assert rows == [anime_id for anime_id, *_ in alone.ranking]
    if ids is not None:
        assert "history not in the catalogue: 100000000000000, -3" in said.stdout
    elif alone.history_size:
        assert f"user {USER}: known, by {alone.history_size} watched anime" in said.stdout


def _told_by_onnx_alone(
    bundle_dir: Path, ids: list[int] | None, history: Mapping[int, float | None]
) -> Told:
    """The ten best, as a program with ONNX Runtime and nothing of ours would find them.

    Histories and the filters of a recommendation are the caller's own.
    """
    session = onnxruntime.InferenceSession(bundle_dir / "ranker.onnx")
    catalogue = np.load(bundle_dir / "catalogue" / "anime_id.npy")
    place = int(np.searchsorted(np.load(bundle_dir / "histories" / "user_id.npy"), USER))
    span = slice(*np.load(bundle_dir / "histories" / "offsets.npy")[place : place + 2])
    seen = np.load(bundle_dir / "histories" / "anime_id.npy")[span]
    asked = np.array(catalogue if ids is None else ids, np.int64)[None]
    ratings = np.load(bundle_dir / "histories" / "rating.npy")[span]
    if history:
        seen = np.array(list(history))
        ratings = np.array([np.nan if each is None else each for each in history.values()])
    rating, affinity, _, known = session.run(
        None,
        {
            "user_id": np.array([USER]),
            "history_ids": seen[None].astype(np.int64),
            "history_ratings": ratings[None].astype(np.float32),
            "profile": np.full((1, session.get_inputs()[3].shape[1]), np.nan, np.float32),
            "candidate_ids": asked,
        },
    )
    score = json.loads(session.get_modelmeta().custom_metadata_map["anirank.score"])
    blended = affinity + np.float32(score["beta"]) * (rating - np.float32(score["mean"]))
    keep = known[0]
    if ids is None:
        keep &= ~np.load(bundle_dir / "catalogue" / "adult.npy") & ~np.isin(catalogue, seen)
    else:
        keep &= [each not in ids[:place] for place, each in enumerate(ids)]
    order = np.argsort(-blended[0][keep], kind="stable")[:10]
    best = asked[0][keep][order]
    genres = np.load(bundle_dir / "catalogue" / "genres.npy")[np.searchsorted(catalogue, best)]
    uses_history = json.loads((bundle_dir / "manifest.json").read_text())["graph"]["uses_history"]
    return Told(
        ranking=[
            (anime_id, float(score), each.decode())
            for anime_id, score, each in zip(
                best.tolist(), blended[0][keep][order], genres, strict=True
            )
        ],
        unknown_candidates=[each for each in ids or [] if each not in catalogue],
        unknown_history=[each for each in history if each not in catalogue],
        familiarity="known",
        history_size=int(np.isin(catalogue, seen).sum()) if uses_history else 0,
    )


def test_a_visitors_list_says_which_of_the_named_anime_each_title_comes_from(
    personal_bundle: Exported,
) -> None:
    first, second, third = np.load(personal_bundle.folder / "catalogue" / "anime_id.npy")[:3]
    history = f"{first}:9,{second},{third}:8.5"
    asked = ("--history", history, "--explain")
    with facade(personal_bundle.folder.parents[1]) as address:
        there = anirank("rank", *asked, "--address", address)
    here = anirank("rank", *asked, "--bundle", personal_bundle.folder)
    assert here.returncode == 0, here.stderr
    assert here.stdout == there.stdout
    titles = np.load(personal_bundle.folder / "catalogue" / "title.npy")
    said = re.sub(r"[│\s]+", "", here.stdout)  # a table breaks lines where it must
    for reason in (
        f"because you rated {titles[0].decode()} 9",
        f"because you watched {titles[1].decode()}",
        f"because you rated {titles[2].decode()} 8.5",
    ):
        assert reason.replace(" ", "") in said
