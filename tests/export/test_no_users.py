"""An export without users: nothing of them in any file, and the same answers for everybody else."""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console

from anirank.client.requests import recommend_request
from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from bundles.bundle import AFFINITY, ONNX, TORCHSCRIPT, Bundle
from bundles.graph import quiet_torchscript
from bundles.manifest import Manifest, Users
from bundles.signature import sign_bundle
from export.bundle import Exported, export
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.torchscript_graph import TorchScriptGraph
from handlers.local import LocalRanker
from tests.anirank.program import anirank, facade
from tests.bundles.test_signature import write_keys
from tests.export.test_archive import ABSENT, PROGRAM
from training.run import Run
from training.tables.tables import Tables

pytestmark = pytest.mark.slow  # exports each preset once more


class Pair(NamedTuple):
    """One run, exported with users and without."""

    preset: str
    run: Run[Any]
    whole: Exported
    without: Exported


@pytest.fixture(
    scope="module",
    params=[("run", "exported"), ("personal", "personal_bundle")],
    ids=["seed", "personal"],
)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    run, whole = (request.getfixturevalue(name) for name in request.param)
    store = tmp_path_factory.mktemp("without")
    return Pair(run.settings.name, run, whole, export(run, store, "anime", "1", users=False))


def contents(exported: Exported) -> Iterator[tuple[str, bytes]]:
    """Every file of the bundle and of the .mar, unpacked down to what no archive hides; but for our
    code, whose examples name a user."""
    files = [path for path in exported.folder.rglob("*") if path.is_file()]
    for path in (*files, exported.archive):
        for name, content in unpacked(path.name, path.read_bytes()):
            if not re.fullmatch(r"anime\.mar/(anirank|bundles|handlers)/.*\.py", name):
                yield name, content


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        yield name, content
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            yield from unpacked(f"{name}/{member}", archive.read(member))


def ids_in(content: bytes, ids: np.ndarray) -> bool:
    """Whether user ids stand there: one as int64, two in a row as int32, or one as text."""
    for start in range(min(8, len(content))):
        long, short = (
            np.frombuffer(content, kind, (len(content) - start) // size, start)
            for kind, size in (("<i8", 8), ("<i4", 4))
        )
        here = np.isin(short, ids)  # one alone could be four bytes of other numbers
        if np.isin(long, ids).any() or (here[:-1] & here[1:]).any():
            return True
    texts = set(re.findall(rb"(?<![\w.])\d{6,7}(?![\w.])", content))
    return bool(texts & {str(each).encode() for each in ids.tolist()})


def sizes(exported: Exported) -> set[int]:
    """Every length of every array: of both graphs, and of the .npy files."""
    found = {size for path in exported.folder.rglob("*.npy") for size in np.load(path).shape}
    for name in (ONNX, AFFINITY):
        path = exported.folder / name
        if path.exists():
            graph = onnx.load(path, load_external_data=False).graph
            found |= {size for table in graph.initializer for size in table.dims}
    with quiet_torchscript():
        scripted = torch.jit.load(exported.folder / TORCHSCRIPT)
    return found | {size for table in scripted.buffers() for size in table.shape}


def tell_tale(tables: Tables, pair: Pair) -> set[int]:
    """The lengths that tables of users have, with or without a row for who is unknown."""
    assert pair.whole.users.count > 100
    ids = tables.users["user_id"].to_numpy()
    counts = {len(ids), pair.whole.users.count}
    return {*counts, *(count + 1 for count in counts), int(ids.max()) + 1}


def test_no_file_holds_an_id_or_a_table_of_users(pair: Pair, tables: Tables) -> None:
    ids = tables.users["user_id"].to_numpy(np.int64)
    ids = ids[ids >= 100_000]  # shorter ones are numbers of other things too
    assert len(ids) > 100
    listed = {name for name, content in contents(pair.whole) if ids_in(content, ids)}
    assert "user_id.npy" in listed
    assert "anime.mar/bundle/histories/user_id.npy" in listed
    assert ("vocabularies.json" in listed) == (pair.preset == "seed")
    assert not [name for name, content in contents(pair.without) if ids_in(content, ids)]
    assert tell_tale(tables, pair) & sizes(pair.whole)
    assert not tell_tale(tables, pair) & sizes(pair.without)


def test_the_histories_are_there_and_empty(pair: Pair) -> None:
    histories = Bundle.open(pair.without.folder).histories
    assert not len(histories.user_id)
    assert not len(histories.anime_id)
    assert histories.offsets.tolist() == [0]


def test_parity_is_as_thorough_and_as_exact(pair: Pair) -> None:
    whole, without = pair.whole.parity.to_dict(), pair.without.parity.to_dict()
    assert without["largest_difference"].pop("training model, float32") < 1e-5
    assert max(without.pop("largest_difference").values()) < 1e-6  # a unit in a rating's last place
    whole.pop("largest_difference")
    assert without == whole


def test_manifest_and_export_tell_what_there_is_of_users(pair: Pair, tables: Tables) -> None:
    users = Manifest.read(pair.whole.folder / "manifest.json").users
    assert users == pair.whole.users
    rated = len(np.unique(tables.ratings.user_row))
    assert users is not None
    assert users.count == (len(tables.users) if pair.preset == "seed" else rated)
    assert {"user_id", "gender", "history"} < {*users.fields}
    assert ("embedding" in users.fields) == (pair.preset == "seed")
    assert Manifest.read(pair.without.folder / "manifest.json").users == Users(0, ())
    assert f"{users.count:,} users: user_id, gender" in printed(pair.whole)
    assert "--no-users" in printed(pair.whole)
    assert "Holds nothing of single users." in printed(pair.without)
    assert f"{pair.whole.parity.scores:,} scores" in printed(pair.whole)


def printed(exported: Exported) -> str:
    file = io.StringIO()
    Console(file=file, width=500).print(exported)
    return file.getvalue()


def asked(bundle: Bundle, user: int, batch: int = 6) -> dict[str, np.ndarray]:
    """Histories of 0 to 40 anime, profiles stated in part, and the whole catalogue."""
    rng = np.random.default_rng(0)
    catalogue, fields = bundle.catalogue.anime_id, bundle.manifest.profile
    history = rng.choice(catalogue, (batch, 40))
    for row, length in enumerate((0, 1, 3, 10, 20, 40)):
        history[row, length:] = 0
    ratings = rng.choice(np.array([np.nan, *range(1, 11)], np.float32), history.shape)
    codes = [len(field.values) if field.values else 2_000 for field in fields]
    profile = (rng.random((batch, len(fields))) * (np.array(codes) + 1)).astype(np.float32)
    profile[:, 0] = np.floor(profile[:, 0])
    profile[rng.random(profile.shape) < 0.5] = np.nan
    return {
        "user_id": np.full(batch, user),
        "history_ids": history,
        "history_ratings": ratings,
        "profile": profile,
        "candidate_ids": np.tile(catalogue, (batch, 1)),
    }


@pytest.mark.parametrize("graph", [OnnxGraph, TorchScriptGraph])
def test_everybody_is_answered_as_a_new_user_is_by_the_whole_bundle(
    pair: Pair, graph: type[OnnxGraph] | type[TorchScriptGraph]
) -> None:
    whole, without = Bundle.open(pair.whole.folder), Bundle.open(pair.without.folder)
    known = int(whole.histories.user_id[3])
    stranger = graph(whole).run(asked(whole, 2**40))
    of_known = graph(whole).run(asked(whole, known))
    assert not np.array_equal(of_known["rating"], stranger["rating"])  # the id's own share
    for user in (known, 2**40, 0):
        for name, found in graph(without).run(asked(without, user)).items():
            np.testing.assert_array_equal(found, stranger[name])


def test_rankings_and_reasons_are_those_of_a_new_user(pair: Pair) -> None:
    whole, without = LocalRanker(pair.whole.folder), LocalRanker(pair.without.folder)
    known = int(Bundle.open(pair.whole.folder).histories.user_id[3])
    ids = Bundle.open(pair.whole.folder).catalogue.anime_id[:5].tolist()
    history = dict.fromkeys(ids, 9.0)

    def answer(ranker: LocalRanker, user: int) -> pb.RankReply:
        asked = recommend_request(user_id=user, history=history, top_k=20, explain=True)
        reply = ranker.answer(asked)
        reply.ClearField("compute_time")
        return reply

    assert answer(without, known) == answer(without, 10**9) == answer(whole, 10**9)
    assert answer(whole, known) != answer(without, known)


def test_it_is_signed_served_and_described_as_any_other(pair: Pair, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, "ours")
    sign_bundle(pair.without.folder, private)
    known = str(Bundle.open(pair.whole.folder).histories.user_id[3])
    said = anirank("rank", "--bundle", pair.without.folder, "--user", known, "--trust", public)
    assert said.returncode == 0, said.stderr
    with (
        facade(pair.without.folder.parents[1], "--trust", public) as address,
        Client(address, timeout_s=30) as client,
    ):
        assert client.model_info().parity["order"] == "identical"
        reply = client.recommend(user_id=int(known), history={5: 9}, top_k=3)
    assert len(reply.ranking) == 3
    uses_history = Bundle.open(pair.without.folder).manifest.uses_history
    expected = "FAMILIARITY_NEW_WITH_HISTORY" if uses_history else "FAMILIARITY_NEW"
    assert pb.Familiarity.Name(reply.familiarity) == expected


def test_the_handler_of_its_archive_answers(pair: Pair, tmp_path: Path) -> None:
    with zipfile.ZipFile(pair.without.archive) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-P", "-W", "ignore", "-c", PROGRAM, str(tmp_path), ABSENT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={})
    assert not done.returncode, done.stderr
    assert len(json.loads(done.stdout)["ranking"]) == 3
