"""The client as a distribution of its own: what it brings, and that it calls a façade."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.running.installation import Installation, Installed, build
from tests.running.program import Serving

pytestmark = pytest.mark.slow  # it builds a wheel, and makes an environment

PROGRAM = """
import asyncio, sys
from anirank_client import AsyncClient, Client
from anirank_client.errors import InvalidQuery

with Client(sys.argv[1]) as client:
    print([anime.anime_id for anime in client.recommend(user_id=10, top_k=3).ranking])
    try:
        client.rank([3], history={3: 11})
    except InvalidQuery as error:
        print(error.field)

async def ask():
    async with AsyncClient(sys.argv[1]) as client:
        return [anime.anime_id for anime in (await client.recommend(user_id=10, top_k=3)).ranking]

print(asyncio.run(ask()))
"""


@pytest.fixture(scope="module")
def client_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("client"), "clients/python")


@pytest.fixture(scope="module")
def alone(client_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An environment with the client, what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    return Installation(folder, client_wheel, (), "anirank-client")


def test_it_brings_one_name_and_imports_none_that_it_does_not_require(client_wheel: Path) -> None:
    imported = set()
    with zipfile.ZipFile(client_wheel) as wheel:
        names = wheel.namelist()
        for name in names:
            if name.endswith((".py", ".pyi")):
                for node in ast.walk(ast.parse(wheel.read(name))):
                    if isinstance(node, ast.Import):
                        imported |= {each.name.partition(".")[0] for each in node.names}
                    elif isinstance(node, ast.ImportFrom):
                        imported.add(str(node.module).partition(".")[0])
    packages = {name.partition("/")[0] for name in names}
    assert {each for each in packages if not each.endswith(".dist-info")} == {"anirank_client"}
    assert {"anirank_client/py.typed", "anirank_client/contract/ranking.proto"} <= set(names)
    outside = imported - sys.stdlib_module_names
    assert outside == {"anirank_client", "grpc", "google", "grpc_status"}


def test_it_calls_a_facade_from_where_nothing_else_of_ours_is(
    alone: Installation, serving: Serving, tmp_path: Path
) -> None:
    for name in ("anirank", "anime", "bundles", "handlers", "training"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imports our {name}')\n")
    with serving(tmp_path / "stderr") as facade:
        done = alone.python("-c", PROGRAM, facade.address, cwd=tmp_path)
    assert done.stderr == ""
    one, field, other = done.stdout.splitlines()
    assert one == other
    assert one.count(",") == 2
    assert field == "history[0].rating"


def test_it_stands_beside_anirank_in_one_program(alone: Installation, installed: Installed) -> None:
    program = "import anirank, anirank_client; print(anirank.Client is anirank_client.Client)"
    environment = installed()
    both = environment.environment | {"PYTHONPATH": str(alone.packages)}
    done = environment.python("-c", program, env=both)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_its_types_are_seen_by_who_uses_it(alone: Installation, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from anirank_client import Client\n"
        "with Client('localhost:50051') as client:\n"
        "    reveal_type(client.recommend(top_k=3).model_version)\n"
        "    client.recommend(top='3')\n"
    )
    python = alone.command("python")[0]
    options = ("--strict", "--cache-dir", tmp_path / "cache", "--python-executable", python)
    command = [sys.executable, "-m", "mypy", "--config-file=", *map(str, options), str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", ""), done.stdout
    assert 'Unexpected keyword argument "top"' in done.stdout
