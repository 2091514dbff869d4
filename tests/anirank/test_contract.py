"""The contract in other hands: compiled alone, and beside what others have of the same name."""

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = "anime/ranking/v1/ranking.proto"
BESIDE = """
from anime.ranking.v1 import ranking_pb2 as own
import anirank
from anirank.contract import ranking_pb2 as ours

with anirank.Client("127.0.0.1:1") as client:
    assert not own.__file__.startswith(anirank.__path__[0]), own.__file__
    request = ours.RankRequest.FromString(own.RankRequest(candidate_ids=[1]).SerializeToString())
    print(type(client).__name__, list(request.candidate_ids))
"""


def test_protoc_makes_stubs_of_the_contract_with_nothing_else_at_hand(tmp_path: Path) -> None:
    _compile(tmp_path)
    assert (tmp_path / "anime/ranking/v1/ranking_pb2_grpc.py").is_file()


def test_the_client_works_beside_somebodys_own_stubs(tmp_path: Path) -> None:
    _compile(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BESIDE],
        cwd=tmp_path,  # which stands first on the path of a program given by -c
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "Client [1]\n", done.stderr


def test_the_package_brings_its_contract() -> None:
    packed = files("anirank.contract") / "ranking.proto"
    assert packed.read_text("utf-8") == (ROOT / "proto" / CONTRACT).read_text("utf-8")


def _compile(to: Path) -> None:
    alone = to / "proto" / CONTRACT
    alone.parent.mkdir(parents=True)
    alone.write_bytes((ROOT / "proto" / CONTRACT).read_bytes())
    out = (f"--python_out={to}", f"--grpc_python_out={to}")
    protoc = (sys.executable, "-m", "grpc_tools.protoc", f"-I{to / 'proto'}")
    done = subprocess.run([*protoc, *out, CONTRACT], capture_output=True, text=True)
    assert not done.returncode, done.stderr
