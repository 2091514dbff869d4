import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from anirank.errors import SettingsError
from handlers.engine.query import Limits
from handlers.facade.settings import BACKENDS, Settings

EVERY = Settings(
    store=Path("a"),
    name="b",
    versions={"1": 0.9, "newest": 0.1},
    watch=True,
    trust=(Path("d"), Path("e")),
    not_before="2",
    max_age_days=3.5,
    copies=Path("j"),
    load_s=4.5,
    backend="torchserve",
    engine="onnxruntime",
    address="127.0.0.1:0",
    http="127.0.0.1:8000",
    page=Path("l"),
    device="cuda:1",
    threads=2,
    torchserve="127.0.0.1:7070",
    keys=Path("c"),
    management="http://127.0.0.1:8081",
    calls=3,
    fallback=True,
    workers=2,
    grace_s=1.5,
    max_candidates=5,
    max_history=6,
    queued=8,
    streamed=9,
    tls_cert=Path("f"),
    tls_key=Path("g"),
    tls_client_ca=Path("h"),
    tokens=Path("i"),
    insecure_public=True,
    metrics_address="127.0.0.1:9100",
    log_level="debug",
    tracing=True,
    histories="k",
    histories_mib=5,
    max_recorded=10,
)


MAPPED = Settings(map_store=True)  # which does not go with the keys to trust


def test_settings_come_back_from_their_json():
    assert all(
        any(getattr(each, name) != getattr(Settings(), name) for each in (EVERY, MAPPED))
        for name in Settings.model_fields
    )
    for settings in (Settings(), EVERY, MAPPED):
        assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_limits_are_those_of_a_query():
    assert Settings().limits == Limits()
    assert EVERY.limits == Limits(5, 6, 8, 9)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_that_can_be_named_has_an_opener(name):
    program = (
        "from handlers.facade.backends.opening import opener\n"
        "from handlers.facade.settings import Settings\n"
        f"print(callable(opener(Settings(backend={name!r})).open))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"threads": 0}, "--threads 0: input should be greater than or equal to 1"),
        ({"grace_s": -1}, "--grace -1: input should be greater than or equal to 0"),
        ({"log_level": "loud"}, "--log-level 'loud': input should be 'debug', 'info'"),
        ({"colour": 1}, "--colour 1: extra inputs are not permitted"),
        ({"backend": "abacus"}, "--backend abacus: should be one of embedded, torchserve"),
        ({"versions": ["1=x"]}, "--version 1=x: should be VERSION or VERSION=WEIGHT"),
        ({"versions": ["=1"]}, "--version =1: should be VERSION or VERSION=WEIGHT"),
        ({"versions": ["1", "1=2"]}, "--version 1: is given twice"),
        ({"versions": {"1": -1}}, "--version 1=-1: should be"),
        ({"versions": {"1": float("inf")}}, "--version 1=inf: should be"),
        ({"versions": {"1": 0.0}}, "--version: at least one weight should be above 0"),
        ({"versions": ["1"], "watch": True}, "--watch: has nothing to wait for"),
        ({"not_before": "2"}, "--not-before: says nothing of what nobody signed; give --trust"),
        ({"max_age_days": 3}, "--max-age: says nothing of what nobody signed; give --trust"),
        ({"max_age_days": 0, "trust": ["a"]}, "--max-age 0: input should be greater than 0"),
        ({"map_store": True, "trust": ["a"]}, "--map-store: whoever writes the store could change"),
        (
            {"watch": True, "workers": 2, "backend": "torchserve"},
            "--watch: several workers cannot change a TorchServe of their own",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_option(given, message):
    with pytest.raises(SettingsError) as caught:
        Settings(**given)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_versions_are_read_as_they_are_typed():
    settings = Settings.model_validate({"versions": ["1=3", "newest"]})
    assert settings.versions == {"1": 3.0, "newest": 1.0}
    assert settings.weights(["1", "2", "10"]) == {"1": 3.0, "10": 1.0}
    assert settings.weights(["1"]) == {"1": 4.0}


def test_settings_never_change():
    with pytest.raises(ValidationError, match="frozen"):
        EVERY.name = "other"
