"""What `anirank serve` is told."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from bundles.bundle import natural_order
from handlers.engine.query import Limits

NEWEST = "newest"  # in place of a version: whichever is the newest in the store

Level = Literal["debug", "info", "warning", "error"]
BackendName = Literal["onnxruntime", "torchserve"]
_PATHS = ("store", "keys", "tls_cert", "tls_key", "tls_client_ca", "tokens")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a façade is started with; each field is the option of the same name.

    versions: weight by version, or by NEWEST; the weights are relative to their sum.
    watch: whether to look for new versions without being asked to by SIGHUP.
    workers: processes that share the address.
    torchserve, keys: HOST:PORT of the gRPC of a TorchServe that runs, and its key_file.json; None
    starts one. management: the URL of its management API, to renew its keys with; None: whoever
    runs it does. calls: batches it is given at a time. fallback: compute in this process what
    TorchServe does not answer. trust: PEM files of public keys, one of which must have signed what
    is served.
    tls_cert, tls_key, tls_client_ca, tokens, insecure_public: see `security.protected`.
    metrics_address: HOST:PORT for Prometheus, None for none. tracing: send spans by OTLP to where
    the variables OTEL_… say.
    """

    store: Path = Path("model_store")
    name: str = "anime"
    versions: Mapping[str, float] = field(default_factory=lambda: {NEWEST: 1.0})
    address: str = "127.0.0.1:50051"
    backend: BackendName = "onnxruntime"
    device: str = "cpu"
    threads: int = 1
    torchserve: str | None = None
    keys: Path = Path("key_file.json")
    watch: bool = False
    management: str | None = None
    calls: int = 1
    fallback: bool = False
    workers: int = 1
    grace_s: float = 10.0
    limits: Limits = field(default_factory=Limits)
    trust: tuple[Path, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    insecure_public: bool = False
    metrics_address: str | None = None
    log_level: Level = "info"
    tracing: bool = False

    @classmethod
    def read(cls, text: str) -> "Settings":
        """The settings that `written` wrote."""
        said = json.loads(text)
        paths = {name: None if said[name] is None else Path(said[name]) for name in _PATHS}
        trust, limits = tuple(map(Path, said["trust"])), Limits(**said["limits"])
        return cls(**said | paths | {"trust": trust, "limits": limits})

    def written(self) -> str:
        """The settings as text, for another process of this machine."""
        return json.dumps(asdict(self), default=str)

    def wanted(self, found: Sequence[str]) -> dict[str, float]:
        """Weight by version, the newest last, where `found` are in the store, the newest last."""
        weights: dict[str, float] = {}
        for version, weight in self.versions.items():
            named = found[-1] if version == NEWEST else version
            weights[named] = weights.get(named, 0.0) + weight
        return {version: weights[version] for version in sorted(weights, key=natural_order)}
