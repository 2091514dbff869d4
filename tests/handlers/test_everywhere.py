"""One explained answer of the `personal` preset by every way to ask."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
import requests

from anirank.contract import ranking_pb2 as pb
from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Query, Ranking
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.backends.torchserve import TorchServeBackend
from handlers.forms import binary
from handlers.forms.json.form import write_ranking
from handlers.forms.replies import Replies
from handlers.torchserve.server import TorchServe


@pytest.fixture(scope="module")
def bundle(personal_bundle: Exported) -> Bundle:
    return Bundle.open(personal_bundle.folder)


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))


@pytest.fixture(scope="module")
def torchserve(personal_torchserve: TorchServe) -> TorchServe:
    return personal_torchserve


@pytest.fixture(scope="module")
def batch(bundle: Bundle) -> list[Query]:
    ids = bundle.catalogue.anime_id
    watched = np.array([*ids[[3, 3, 8, 40]], -1])
    ratings = np.array([9, 4, np.nan, 10, 10], np.float32)
    known = [Query(user_id=int(user), top_k=10, explain=True) for user in bundle.histories.user_id]
    visitor = Query(history_ids=watched, history_ratings=ratings, explain=True)
    return [*known[:8], visitor, Query(candidate_ids=ids[::-1], explain=True), Query(top_k=5)]


def same(one: Ranking | InvalidQuery, other: Ranking | InvalidQuery) -> bool:
    """Whether two rankings are the same to the last bit, but for the time they took."""
    assert isinstance(one, Ranking)
    assert isinstance(other, Ranking)
    timeless = [dataclasses.replace(each, compute_s=0.0) for each in (one, other)]
    return binary.write_rankings(timeless[:1]) == binary.write_rankings(timeless[1:])


def test_both_backends_of_the_facade_give_the_reasons_of_the_engine(
    bundle, engine, torchserve, batch
):
    expected = engine.rank(batch)
    assert sum(len(ranking.reasons.contributions) for ranking in expected[:-1]) > 100
    assert [ranking.history_size for ranking in expected[-3:]] == [3, 0, 0]
    assert expected[-3].unknown_history.tolist() == [-1]

    async def ask(backend):
        answers = await backend.rank(batch)
        await backend.close()
        return answers

    version = bundle.manifest.version

    def over_torchserve():
        return TorchServeBackend(
            torchserve.grpc_address,
            name=torchserve.name,
            version=version,
            key_file=torchserve.key_file,
        )

    for backend in (lambda: EmbeddedBackend(engine), over_torchserve):

        async def answered(backend=backend):
            return await ask(backend())

        for found, right in zip(asyncio.run(answered()), expected, strict=True):
            assert same(found, right)


def test_rest_gives_the_reasons_of_the_engine_in_json_and_in_the_binary_form(
    bundle, engine, torchserve, batch
):
    user = int(bundle.histories.user_id[0])
    headers = {"Authorization": f"Bearer {torchserve.inference_key()}"}
    url = f"{torchserve.rest_address}/predictions/{torchserve.name}"
    item = {"user_id": user, "top_k": 10, "explain": True}
    reply = requests.post(url, json=item, headers=headers, timeout=30)
    [ranking] = engine.rank([Query(user_id=user, top_k=10, explain=True)])
    assert reply.json() == json.loads(json.dumps(write_ranking(ranking, bundle)))
    assert any(
        "title" in reason for entry in reply.json()["ranking"] for reason in entry["reasons"]
    )
    headers["Content-Type"] = "application/octet-stream"
    body = binary.write_queries(batch)
    reply = requests.post(url, data=body, headers=headers, timeout=30)
    for found, right in zip(binary.read_rankings(reply.content), engine.rank(batch), strict=True):
        assert same(found, right)


def test_the_reply_of_the_facade_says_what_the_json_form_says(bundle, engine, batch):
    for ranking in engine.rank(batch):
        document = write_ranking(ranking, bundle)
        reply = pb.RankReply.FromString(Replies(bundle).write(ranking, 0.0))
        for name in ("unknown_candidates", "unknown_history"):
            assert list(getattr(reply, name)) == document[name]
        assert reply.history_size == document["history_size"]
        known = f"FAMILIARITY_{document['familiarity']}".upper()
        assert pb.Familiarity.Name(reply.familiarity) == known
        for entry, message in zip(document["ranking"], reply.ranking, strict=True):
            said = [
                {"genre": reason.genre, "contribution": reason.contribution}
                if reason.genre
                else {
                    "anime_id": reason.anime.anime_id,
                    "title": reason.anime.title,
                    **({"rating": reason.anime.rating} if reason.anime.HasField("rating") else {}),
                    "contribution": reason.contribution,
                }
                for reason in message.reasons
            ]
            assert said == entry.get("reasons", [])
            assert (message.title, message.genres) == (entry["title"], entry["genres"])
            assert (message.wide, message.HasField("rest")) == (entry["wide"], "rest" in entry)
