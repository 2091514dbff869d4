"""The command line: its commands, and what it makes of errors."""

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup, TyperOption

import anirank
from anirank.cli import bench, bundles, data, lists, rank, serve, train
from anirank.cli.console import INTERRUPTED
from anirank.cli.histories import commands as histories
from anirank.errors import AnirankError, naming_the_extra

# What is heavy is imported where it is used: what serves starts without torch, and what trains
# without grpc.

# Options of typer for shells. They are given once, so the help is without them.
_ONCE = ("install_completion", "show_completion")

app = typer.Typer(
    help="Train a Wide & Deep ranking of anime, export it once, serve it everywhere.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
for each in (
    data.synth,
    data.prepare,
    train.train,
    train.update,
    train.evaluate,
    train.report,
    bundles.export,
    bundles.sign,
    bundles.verify,
    serve.serve,
    serve.torchserve,
    serve.health,
    serve.info,
    rank.rank,
    rank.similar,
    lists.lists,
    bench.bench,
):
    app.command()(each)
app.add_typer(histories.app, name="histories")


def _show_version(asked: bool) -> None:
    if asked:
        print(f"anirank {anirank.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train a Wide & Deep ranking of anime, export it once, serve it everywhere."""


def command() -> TyperGroup:
    """The command line as a command, which documents itself."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    for option in root.params:
        if isinstance(option, TyperOption) and option.name in _ONCE:
            option.hidden = True
    return root


def main() -> None:
    """Run the command line; one line on standard error and the error's exit code on bad input."""
    try:
        with naming_the_extra():
            code = command()(sys.argv[1:] or ["--help"], standalone_mode=False)
    except typer.TyperException as error:
        code = _complain(error.format_message(), AnirankError.exit_code)
    except typer.Abort:
        code = INTERRUPTED
    except AnirankError as error:
        code = _complain(str(error), error.exit_code)
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    print(f"anirank: {' '.join(message.split())}", file=sys.stderr)
    return code
