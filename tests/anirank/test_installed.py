"""The wheel as a user has it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.anirank.program import anirank
from tests.running.installation import Installed


def test_an_environment_holds_what_its_extras_require_and_nothing_else(
    installed: Installed,
) -> None:
    names = ("anirank", "grpc_status", "onnxruntime", "torch", "pandas", "pytest", "tests")
    program = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])"
    assert installed().python("-c", program).stdout == "anirank grpc_status\n"
    assert installed("cpu").python("-c", program).stdout == "anirank grpc_status onnxruntime\n"


def test_an_installed_wheel_ranks_as_the_checkout_does(installed: Installed, toy_dir: Path) -> None:
    arguments = ("rank", "--bundle", toy_dir, "--top", "3")
    done = installed("cpu").anirank(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == anirank(*arguments).stdout


# What an application may have itself; were one of these imported, its program would end.
OF_AN_APPLICATION = ("anime", "benchmarks", "bundles", "export", "handlers", "training")
APPLICATION = """
import sys
import anirank
from anirank.contract import ranking_pb2 as pb
from anirank.errors import BackendUnavailable

with anirank.Client(sys.argv[1]) as client:
    print([anime.anime_id for anime in client.answer(pb.RecommendRequest(top_k=3)).ranking])
print(anirank.AsyncClient.__name__, BackendUnavailable.__name__)
"""


@pytest.mark.slow
def test_a_client_works_in_an_application_that_has_folders_of_our_names(
    installed: Installed, toy_dir: Path, tmp_path: Path
) -> None:
    for name in OF_AN_APPLICATION:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('imports our {name}')\n")
    environment = installed("cpu")
    store = toy_dir.parents[1]
    serve = environment.command(
        *("anirank", "serve", "--store", store, "--name", "toy", "--address", "127.0.0.1:0")
    )
    with subprocess.Popen(
        serve,
        cwd=environment.elsewhere,
        env=environment.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as facade:
        try:
            assert facade.stdout is not None
            found = re.search(r" on (\S+),", facade.stdout.readline())
            assert found is not None
            done = installed().python("-c", APPLICATION, found[1], cwd=tmp_path)
        finally:
            facade.terminate()
    expected = environment.anirank("rank", "--bundle", toy_dir, "--top", "3").stdout
    ids, names = done.stdout.splitlines()
    assert (names, done.stderr) == ("AsyncClient BackendUnavailable", "")
    assert all(f" {each} " in expected for each in ids.strip("[]").split(", "))


def test_the_wheel_has_the_contract_and_says_that_it_is_typed(installed: Installed) -> None:
    packages = installed().packages
    assert (packages / "anirank/contract/ranking.proto").is_file()
    assert (packages / "anirank/py.typed").is_file()
    assert not (packages / "anime").exists()


def test_bash_completes_commands_and_options(installed: Installed) -> None:
    environment = installed("cpu")
    script = """
        eval "$(anirank --show-completion)"
        COMP_WORDS=(anirank torchs) COMP_CWORD=1
        _anirank_completion anirank
        echo "${COMPREPLY[@]}"
        COMP_WORDS=(anirank torchserve --rest) COMP_CWORD=2
        _anirank_completion anirank
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script], env=environment.environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("torchserve\n--rest-port\n", "")
    assert "completion" not in environment.anirank("--help").stdout
