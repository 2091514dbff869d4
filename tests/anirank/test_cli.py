import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from anirank.cli.app import app, main
from tests.anirank.program import anirank

USER = 366396
COMMANDS = [each.callback.__name__ for each in app.registered_commands if each.callback]


def run(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """The command line in this process: exit code, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["anirank", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


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
        (("verify", "--store", "no-such-store"), "no-such-store"),
        (
            ("health", "--address", "127.0.0.1:1"),
            "127.0.0.1:1: connections to all backends failing",
        ),
        (("rank", "--bundle", "no-such-bundle"), "no-such-bundle"),
        (("rank", "--address", "h:1", "--token-file", "no-such-token"), "no-such-token"),
        (("rank", "--user", "1"), "--address or --bundle"),
        (("rank", "--candidates", "1,x", "--bundle", "b"), "1,x"),
        (("rank", "--history", "1:9:8", "--bundle", "b"), "1:9:8"),
        (("rank", "--user", str(2**63), "--bundle", "b"), str(2**63)),
        (("rank", "--with", "genre=Action", "--bundle", "b"), "--with genre=Action"),
        (("rank", "--years", "1990s", "--bundle", "b"), "--years 1990s"),
        (("rank", "--episodes", f":{2**31}", "--bundle", "b"), f"--episodes :{2**31}"),
        (("rank", "--only-ids", "1,x", "--bundle", "b"), "--only-ids 1,x"),
        (("rank", "--mal-export", "no-such-list", "--bundle", "b"), "no-such-list"),
        (("similar", "1"), "--address or --bundle"),
        (("similar", "1,x", "--bundle", "b"), "1,x"),
        (("similar", str(2**63), "--bundle", "b"), str(2**63)),
        (("similar", "1", "--by", "smell", "--bundle", "b"), "smell"),
        (("similar", "1", "--bundle", "no-such-bundle"), "no-such-bundle"),
        (("synth", "here", "--users", "x"), "--users"),
        (("bench", "--address", "x", "--rate", "1", "--in-flight", "1"), "--rate"),
        (("bench", "--address", "x", "--candidates", "no-such-file"), "no-such-file"),
        (("conquer",), "conquer"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(arguments, monkeypatch, capsys)
    assert code == 2
    assert len(err.splitlines()) == 1, err
    assert named in err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_program_of_its_own_ends_so_as_well(tmp_path: Path) -> None:
    for arguments in (("conquer",), ("serve", "--store", tmp_path / "none"), ("evaluate", "none")):
        done = anirank(*arguments)
        assert done.returncode == 2
        assert re.fullmatch(r"anirank: [^\n]+\n", done.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = run((command, "--help"), monkeypatch, capsys)
    assert code == 0
    for option in re.findall(r"^  --[a-z-]+ *(?:<\w+>|\[[^]]*\])? *(.*)$", said, re.MULTILINE):
        assert option, said


@pytest.mark.parametrize("command", [(), *((each,) for each in COMMANDS)])
def test_help_has_a_short_name(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = run((*command, "-h"), monkeypatch, capsys)
    assert code == 0
    assert said.startswith("Usage: ")
    assert said == run((*command, "--help"), monkeypatch, capsys)[1]


def test_a_module_of_our_own_that_is_missing_is_a_fault_that_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "training.synthesis.dataset", None)
    with pytest.raises(ModuleNotFoundError, match=r"training\.synthesis\.dataset"):
        run(("synth", str(tmp_path)), monkeypatch, capsys)


def test_it_says_which_version_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(("--version",), monkeypatch, capsys) == (0, f"anirank {version('anirank')}\n", "")


def test_the_serving_core_needs_neither_torch_nor_pandas(bundle_dir: Path) -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['torch', 'pandas', 'pyarrow']))"
    ask = f"sys.argv = ['anirank', 'rank', '--user', '{USER}', '--bundle', {str(bundle_dir)!r}]"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; {ask}; from anirank.cli.app import main; main()"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"user {USER}" in done.stdout
