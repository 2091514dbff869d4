from pathlib import Path

from handlers.engine.query import Limits
from handlers.facade.settings import Settings


def test_settings_come_back_from_their_text():
    every = Settings(
        store=Path("a"),
        name="b",
        versions={"1": 0.9, "newest": 0.1},
        address="127.0.0.1:0",
        backend="torchserve",
        device="cuda:1",
        threads=2,
        torchserve="127.0.0.1:7070",
        keys=Path("c"),
        watch=True,
        management="http://127.0.0.1:8081",
        calls=3,
        fallback=True,
        workers=2,
        grace_s=1.5,
        limits=Limits(candidates=5),
        trust=(Path("d"), Path("e")),
        tls_cert=Path("f"),
        tls_key=Path("g"),
        tls_client_ca=Path("h"),
        tokens=Path("i"),
        insecure_public=True,
        metrics_address="127.0.0.1:9100",
        log_level="debug",
        tracing=True,
    )
    for settings in (Settings(), every):
        assert Settings.read(settings.written()) == settings
