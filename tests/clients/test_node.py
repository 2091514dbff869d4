"""The client for Node calls a façade, and hears what the one for Python hears."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import anirank
from anirank.errors import ServingError
from tests.docs.tracked import ROOT
from tests.running.program import Serving

CLIENT = ROOT / "clients/node/dist/index.js"
DRIVE = Path(__file__).parent / "drive.mjs"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(not CLIENT.is_file(), reason="clients/node is not built: make node"),
]


def drive(address: str, what: str) -> "subprocess.Popen[str]":
    command = ["node", str(DRIVE), str(CLIENT), address, what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def heard(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def test_it_hears_what_the_client_for_python_hears(serving: Serving, tmp_path: Path) -> None:
    with serving(tmp_path / "stderr") as facade:
        said = heard(drive(facade.address, "all"))
        with anirank.Client(facade.address) as client:
            ranked = client.rank([3, 6, 9], user_id=10).ranking
            recommended = client.recommend(top_k=3).ranking
            try:
                similar: Any = [each.anime_id for each in client.similar([3], top_k=2).ranking]
            except ServingError as error:
                similar = type(error).__name__
            streamed = {
                str(place): [[each.anime_id, each.score] for each in ranking]
                for place, user_id in enumerate([10, 11, 0])
                for ranking in [client.rank([3, 6, 9], user_id=user_id).ranking]
            }
    assert said["ranked"] == [[each.anime_id, each.score] for each in ranked]
    assert said["recommended"] == [each.title for each in recommended]
    assert said["similar"] == similar
    assert said["streamed"] == {**streamed, "3": "InvalidQuery"}
    assert (said["many"], said["broken"]) == (500, "no more of them")
    assert said["off"] == "HistoriesOff"
    assert said["name"] == "toy"
    assert said["refused"] == [True, "history[0].rating"]


def test_it_asks_again_when_it_is_told_to(full: str, held) -> None:
    assert heard(drive(full, "hasty")) == {"failed": ["Overloaded", True]}
    with drive(full, "patient") as patient:
        time.sleep(1.0)
        assert patient.poll() is None
        held.free.set()
        assert len(heard(patient)["ranked"]) == 3
