import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from anirank.cli.options import BEGIN, END, from_settings, replaced, settings_of, spread, table
from anirank.client.sync import Client
from anirank.errors import SettingsError
from handlers.facade.settings import Settings
from tests.running.program import run_serve

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"


@pytest.fixture
def parse(monkeypatch):
    """The settings that a command line and an environment come to."""
    app = typer.Typer()
    parsed: list[Settings] = []

    @app.command()
    @from_settings
    def serve(**given: Any) -> None:
        parsed.append(settings_of(given))

    def parse(*arguments: str, **environment: str) -> Settings:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        app(list(arguments), standalone_mode=False)
        return parsed[-1]

    return parse


def test_without_options_settings_are_the_defaults(parse):
    assert parse() == Settings()


def test_every_field_is_an_option(parse):
    settings = parse(
        *("--store", "a", "--name", "b", "--version", "1=0.9", "--version", "newest=0.1"),
        *("--watch", "--trust", "d", "--trust", "e", "--backend", "torchserve"),
        *("--engine", "onnxruntime"),
        *("--address", "127.0.0.1:0", "--device", "cuda:1", "--threads", "2"),
        *("--torchserve", "127.0.0.1:7070", "--keys", "c", "--management", "http://h", "--calls"),
        *("3", "--fallback", "--workers", "2", "--grace", "1.5", "--max-candidates", "5"),
        *("--max-history", "6", "--queued", "8", "--streamed", "9"),
        *("--tls-cert", "f", "--tls-key", "g", "--tls-client-ca", "h", "--tokens", "i"),
        *("--insecure-public", "--metrics-address", "127.0.0.1:9100", "--log-level", "debug"),
        *("--tracing", "--not-before", "2", "--max-age", "3.5", "--copies", "j"),
        *("--load-limit", "4.5", "--histories", "k", "--histories-size", "5"),
        *("--max-recorded", "10", "--http", "127.0.0.1:8000", "--page", "l"),
    )
    mapped, default = parse("--map-store"), Settings()
    assert [
        name
        for name in Settings.model_fields
        if getattr(settings, name) == getattr(mapped, name) == getattr(default, name)
    ] == []
    assert settings.versions == {"1": 0.9, "newest": 0.1}
    assert settings.trust == (Path("d"), Path("e"))


def test_every_field_is_a_variable_of_the_environment(parse):
    settings = parse(
        ANIRANK_ADDRESS="127.0.0.1:1",
        ANIRANK_WORKERS="3",
        ANIRANK_GRACE="2.5",
        ANIRANK_VERSION="1=3 newest",
        ANIRANK_TRUST="a.pem:b.pem",
        ANIRANK_TLS_CERT="c.pem",
        ANIRANK_INSECURE_PUBLIC="1",
        ANIRANK_FALLBACK="false",
    )
    assert (settings.address, settings.workers, settings.grace_s) == ("127.0.0.1:1", 3, 2.5)
    assert settings.versions == {"1": 3.0, "newest": 1.0}
    assert settings.trust == (Path("a.pem"), Path("b.pem"))
    assert settings.tls_cert == Path("c.pem")
    assert settings.insecure_public
    assert not settings.fallback


def test_the_command_line_goes_before_the_environment(parse):
    settings = parse("--workers", "2", ANIRANK_WORKERS="3", ANIRANK_THREADS="4")
    assert (settings.workers, settings.threads) == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--watch", "--version", "1"), SettingsError),
        (("--version", "1=x"), SettingsError),
        (("--threads", "0"), typer.TyperException),
        (("--backend", "abacus"), typer.TyperException),
        (("--no-watch",), typer.TyperException),
    ],
)
def test_what_cannot_be_is_an_error_of_one_line(parse, arguments, error):
    with pytest.raises(error) as caught:
        parse(*arguments)
    of_typer = isinstance(caught.value, typer.TyperException)
    message = caught.value.format_message() if of_typer else str(caught.value)
    assert arguments[0] in message
    assert "\n" not in message


def test_a_variable_that_cannot_be_is_one_line_and_exit_code_2():
    command = [sys.executable, "-m", "anirank", "serve"]
    environment = os.environ | {"ANIRANK_WORKERS": "many"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "ANIRANK_WORKERS" in line


def test_a_facade_takes_what_the_environment_says(store, monkeypatch):
    monkeypatch.setenv("ANIRANK_MAX_CANDIDATES", "7")
    monkeypatch.setenv("ANIRANK_NAME", "overridden by the command line")
    with run_serve(store) as (_, address, _), Client(address) as client:
        assert client.model_info().limits.candidates == 7


def test_the_table_names_every_option_with_its_variable_once():
    rows = re.findall(r"^\| `(--[a-z-]+)` \| `(ANIRANK_[A-Z_]+)` \|", table(), re.MULTILINE)
    assert len(set(rows)) == len(rows) == len(Settings.model_fields)
    for option, variable in rows:
        assert variable == f"ANIRANK_{option.removeprefix('--').replace('-', '_').upper()}"


def test_the_page_of_the_docs_holds_the_table_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(BEGIN) == page.count(END) == 1
    assert replaced(page) == page, f"python -m anirank.cli.options {PAGE} writes it anew"
    with pytest.raises(ValueError, match="no lines"):
        replaced("a page without markers")


@dataclass(frozen=True)
class Shown:
    """Options that two commands take."""

    top: Annotated[int, typer.Option(min=1)] = 10
    having: Annotated[list[str] | None, typer.Option("--with")] = None


def test_the_fields_of_a_dataclass_are_options_in_its_place():
    app, taken = typer.Typer(), []

    @app.command()
    @spread
    def show(user: int, quiet: bool = False, *, shown: Shown, address: str = "here") -> None:
        taken.append((user, quiet, shown, address))

    app(["7"], standalone_mode=False)
    given = ["8", "--quiet", "--with", "a", "--with", "b", "--top", "3", "--address", "there"]
    app(given, standalone_mode=False)
    assert taken == [(7, False, Shown(), "here"), (8, True, Shown(3, ["a", "b"]), "there")]
    with pytest.raises(typer.TyperException, match="greater than or equal to 1"):
        app(["9", "--top", "0"], standalone_mode=False)
    parameters = typer.main.get_command(app).params
    names = [each.name for each in parameters if each.name in ("top", "having", "address")]
    assert names == ["top", "having", "address"]
