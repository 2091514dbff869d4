"""Makes the package `anirank_client` of the files of `anirank`, of which there is one source.

What the two have in common stands in `anirank`. Here it is written out once more, with its imports
moved: a program that calls a façade has then one name of ours in its environment, and the two stand
side by side where both are installed. A source distribution holds the package as it was written.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
SOURCE, MADE = HERE.parents[1] / "anirank", HERE / "anirank_client"
# Where each module comes to; of a package its modules.
HOMES = {"client": "anirank_client", "contract": "anirank_client.contract"}
MODULES = {"errors": "anirank_client.errors"}


def moved(text: str) -> str:
    """A module with its imports, and the names that stubs know themselves by, moved."""
    for name, home in {**HOMES, **MODULES}.items():
        text = re.sub(rf"(?m)^( *(?:from|import) )anirank\.{name}\b", rf"\1{home}", text)
        text = text.replace(f"'anirank.{name}.", f"'{home}.")
    return text


def make() -> None:
    """Write the package anew."""
    shutil.rmtree(MADE, ignore_errors=True)
    for name, home in HOMES.items():
        folder = HERE / home.replace(".", "/")
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted((SOURCE / name).iterdir()):
            if file.suffix in (".py", ".pyi"):
                (folder / file.name).write_text(moved(file.read_text("utf-8")), "utf-8")
            elif file.suffix == ".proto":
                (folder / file.name).write_bytes(file.read_bytes())
    for name in MODULES:
        text = moved((SOURCE / f"{name}.py").read_text("utf-8"))
        (MADE / f"{name}.py").write_text(text, "utf-8")
    (MADE / "py.typed").touch()
    (MADE / "__init__.py").write_bytes((HERE / "package.py").read_bytes())


if SOURCE.is_dir():  # else this is a source distribution
    make()
setup()
