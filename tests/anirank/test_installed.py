"""The wheel as a user has it."""

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
