"""The wheel as a user has it."""

import subprocess
from pathlib import Path

from tests.anirank.program import anirank
from tests.running.installation import Installed


def test_an_environment_holds_what_its_extras_require_and_nothing_else(
    installed: Installed,
) -> None:
    names = ("anirank", "anime", "grpc_status", "onnxruntime", "torch", "pandas", "pytest", "tests")
    program = f"import importlib.util as u; print(*[n for n in {names!r} if u.find_spec(n)])"
    assert installed().python("-c", program).stdout == "anirank anime grpc_status\n"
    assert (
        installed("cpu").python("-c", program).stdout == "anirank anime grpc_status onnxruntime\n"
    )


def test_an_installed_wheel_ranks_as_the_checkout_does(installed: Installed, toy_dir: Path) -> None:
    arguments = ("rank", "--bundle", toy_dir, "--top", "3")
    done = installed("cpu").anirank(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == anirank(*arguments).stdout


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
