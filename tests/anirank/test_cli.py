import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import requests

from anirank.client.sync import Client
from export.bundle import Exported
from handlers.torchserve.server import TorchServe

USER = 366396


def anirank(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "anirank", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("prepare", "no-such-folder", "out"), "no-such-folder"),
        (("train", "no-such-folder", "run"), "no-such-folder"),
        (("train", "no-such-folder", "run", "--label", "Scores"), "label"),
        (("train", "no-such-folder", "run", "--resume", "--epochs", "3"), "--resume"),
        (("train", "no-such-folder", "run", "--split", "months"), "split_by"),
        (("train", "no-such-folder", "run", "--refit", "no-such-run"), "no-such-run"),
        (("train", "no-such-folder", "run", "--refit", "run", "--seed", "1"), "--refit"),
        (("evaluate", "no-such-run"), "no-such-run"),
        (("report", "no-such-run"), "no-such-run"),
        (("export", "no-such-run"), "no-such-run"),
        (("serve", "--store", "no-such-store"), "no-such-store"),
        (("sign", "no-such-bundle", "--key", "no-such-key"), "no-such-key"),
        (("rank", "--bundle", "no-such-bundle"), "no-such-bundle"),
        (("rank", "--address", "h:1", "--token-file", "no-such-token"), "no-such-token"),
        (("rank", "--user", "1"), "--address or --bundle"),
        (("rank", "--candidates", "1,x", "--bundle", "b"), "1,x"),
        (("rank", "--history", "1:9:8", "--bundle", "b"), "1:9:8"),
        (("rank", "--user", str(2**63), "--bundle", "b"), str(2**63)),
        (("synth", "here", "--users", "x"), "--users"),
        (("bench", "--address", "x", "--rate", "1", "--in-flight", "1"), "--rate"),
        (("bench", "--address", "x", "--candidates", "no-such-file"), "no-such-file"),
        (("conquer",), "conquer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "anirank", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert named in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    ["synth", "prepare", "train", "evaluate", "export", "serve", "torchserve", "rank", "bench"],
)
def test_every_option_is_explained(command: str) -> None:
    said = anirank(command, "--help").stdout
    for option in re.findall(r"^  --[a-z-]+ *(?:<\w+>|\[[^]]*\])? *(.*)$", said, re.MULTILINE):
        assert option, said


def test_the_serving_core_needs_neither_torch_nor_pandas(bundle_dir: Path) -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'pandas', 'pyarrow']))"
    ask = f"sys.argv = ['anirank', 'rank', '--user', '{USER}', '--bundle', {str(bundle_dir)!r}]"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; {ask}; import anirank; anirank.main()"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "predicted score" in done.stdout


@pytest.mark.parametrize("preset", ["seed", "personal"])
def test_ctrl_c_leaves_a_run_that_can_be_used(preset: str, synthetic: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "anirank", "train", str(synthetic), str(run)]
    command += ["--preset", preset, "--epochs", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said
    assert anirank("evaluate", run, "--json", tmp_path / "out.json").returncode == 0
    figures = json.loads((tmp_path / "out.json").read_text())
    whole = figures["against"]["Score"] if preset == "seed" else figures["lines"][-1]
    assert whole["rmse"] > 0


@pytest.fixture(scope="module", params=["exported", "personal_bundle"], ids=["seed", "personal"])
def served(request: pytest.FixtureRequest) -> Exported:
    """What was exported of each preset."""
    made: Exported = request.getfixturevalue(request.param)
    return made


@pytest.fixture(scope="module")
def torchserve(served: Exported) -> Iterator[TorchServe]:
    with TorchServe(served.archive) as server:
        yield server


@contextmanager
def facade(store: Path, *options: str | Path) -> Iterator[str]:
    """Serves while it is entered; the address."""
    command = [sys.executable, "-m", "anirank", "serve", "--store", str(store)]
    command += ["--address", "127.0.0.1:0", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r" on (\S+),", process.stdout.readline())
            assert found is not None, "the façade did not start"
            yield found[1]
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.mark.parametrize("candidates", [None, [5, 1, 10**15, 9]])
def test_one_request_has_one_ranking_everywhere(
    served: Exported, torchserve: TorchServe, candidates: list[int] | None
) -> None:
    bundle_dir = served.folder
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
    rankings["REST"] = [(a["anime_id"], np.float32(a["score"])) for a in answer["ranking"]]
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


@pytest.mark.parametrize("preset", ["seed", "personal"])
def test_ctrl_c_leaves_a_run_that_resume_ends_as_if_never_stopped(
    preset: str, synthetic: Path, tmp_path: Path
) -> None:
    settings = ("--preset", preset, "--epochs", "12", "--batch-size", "32", "--device", "cpu")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert anirank("train", synthetic, whole, *settings).returncode == 0
    command = [sys.executable, "-m", "anirank", "train", str(synthetic), str(stopped), *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        for _ in range(600):
            if (stopped / "metrics.jsonl").exists():
                break
            time.sleep(0.1)
        training.send_signal(signal.SIGINT)
        printed, _ = training.communicate(timeout=60)
    assert training.returncode == 130
    assert "--resume" in printed
    assert len((stopped / "metrics.jsonl").read_text().splitlines()) < 12
    assert anirank("train", synthetic, stopped, "--resume").returncode == 0
    weights = "weights.safetensors"
    assert (stopped / weights).read_bytes() == (whole / weights).read_bytes()
