"""`anirank export`, `anirank sign` and `anirank verify`: bundles."""

from pathlib import Path
from typing import Annotated

import typer

from anirank.cli import serve
from anirank.cli.console import console, stderr
from anirank.cli.train import told_where_full


def export(
    run_dir: Annotated[Path, typer.Argument(help="A run.")],
    store: serve.Store = serve.DEFAULT.store,
    name: serve.Name = serve.DEFAULT.name,
    version: Annotated[str, typer.Option(help="A new version; versions never change.")] = "1",
    no_users: Annotated[
        bool,
        typer.Option(
            "--no-users",
            help="Leave out all that is known of single users, to hand the files out: everybody "
            "is a new user to them, and is ranked for by the history and profile that are given.",
        ),
    ] = False,
    light: Annotated[
        bool,
        typer.Option(
            "--light",
            help="Also make light/, for pages and phones: a graph of an eighth of the size that "
            "knows no user, and a catalogue as JSON.",
        ),
    ] = False,
) -> None:
    """Make TorchScript, ONNX, bundle and .mar from a run, if they agree to the last digit."""
    from export.bundle import export
    from training.loop.progress import Stages
    from training.presets import open_run

    run = open_run(run_dir)
    with told_where_full(store), Stages(stderr) as stages:
        made = export(run, store, name, version, not no_users, light, stages)
    console.print(made)


def sign(
    bundle: Annotated[Path, typer.Argument(help="A bundle, or a .mar.", show_default=False)],
    key: Annotated[Path, typer.Option(help="PEM of a private key of the curve P-256.")],
) -> None:
    """Sign a bundle, so that who trusts the key can tell that it is yours and whole."""
    from bundles.signature import sign_bundle

    console.print(f"{sign_bundle(bundle, key)}", soft_wrap=True)


def verify(
    store: serve.Store = serve.DEFAULT.store,
    name: serve.Name = serve.DEFAULT.name,
    version: Annotated[str | None, typer.Option(help="[default: the newest]")] = None,
    trust: serve.Trust = None,
) -> None:
    """Check every file of a bundle, and with --trust who has signed it, before it is served."""
    from bundles.bundle import Bundle

    said = Bundle.latest(store, name, version, trust or ()).manifest
    signed = ", and signed by a key that is trusted" if trust else ""
    console.print(f"{said.name} {said.version}: whole{signed}", soft_wrap=True)
