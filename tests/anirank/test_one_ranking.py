"""One request has one ranking, whichever way it is asked."""

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import requests

from anirank.client.sync import Client
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


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [None, [5, 1, 10**15, 9]])
def test_one_request_has_one_ranking_everywhere(
    served: tuple[Exported, TorchServe], candidates: list[int] | None
) -> None:
    exported, torchserve = served
    bundle_dir = exported.folder
    catalogue = np.load(bundle_dir / "catalogue" / "anime_id.npy")
    ids = None if candidates is None else [*catalogue[:40].tolist(), *candidates]
    rankings: dict[str, list[tuple[int, float]]] = {}

    store = bundle_dir.parents[1]
    running = ("--torchserve", torchserve.grpc_address, "--keys", torchserve.key_file)
    for backend, options in (("onnxruntime", ()), ("torchserve", running)):
        with facade(store, "--backend", backend, *options) as address:
            with Client(address, timeout_s=30) as client:
                if ids is None:
                    reply = client.recommend(user_id=USER, top_k=10)
                else:
                    reply = client.rank(ids, user_id=USER, top_k=10)
            rankings[f"gRPC, {backend}"] = [(a.anime_id, a.score) for a in reply.ranking]

    item = {"user_id": USER, "top_k": 10} | ({} if ids is None else {"candidate_ids": ids})
    answer = requests.post(
        f"{torchserve.rest_address}/predictions/{torchserve.name}",
        json=item,
        headers={"Authorization": f"Bearer {torchserve.inference_key()}"},
        timeout=30,
    ).json()
    rankings["REST"] = [(a["anime_id"], float(np.float32(a["score"]))) for a in answer["ranking"]]
    rankings["ONNX"] = _ranked_by_onnx_alone(bundle_dir, ids)

    assert len(rankings["ONNX"]) == 10
    for way, ranking in rankings.items():
        assert ranking == rankings["ONNX"], way

    arguments = [] if ids is None else ["--candidates", ",".join(map(str, ids))]
    said = anirank("rank", "--user", str(USER), "--top", "10", "--bundle", bundle_dir, *arguments)
    rows = [int(row) for row in re.findall(r"^│ +\d+ │ +(\d+) │", said.stdout, re.MULTILINE)]
    assert rows == [anime_id for anime_id, _ in rankings["ONNX"]]


def _ranked_by_onnx_alone(bundle_dir: Path, ids: list[int] | None) -> list[tuple[int, float]]:
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
    return list(zip(asked[0][keep][order].tolist(), blended[0][keep][order], strict=True))


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
