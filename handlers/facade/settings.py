"""What a façade is started with: one model, of which the command line, its environment variables
and the table of docs/serving.md are made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from anirank.errors import SettingsError, quoted
from bundles.bundle import natural_order
from handlers.engine.query import Limits
from handlers.histories.histories import MOST

NEWEST = "newest"  # in place of a version: whichever is the newest in the store

# What can compute: the name, and the module of handlers.facade.backends that opens it.
BACKENDS = {
    "embedded": "embedded",
    "torchserve": "torchserve",
}

EngineName = Literal["auto", "compiled", "onnxruntime"]
Level = Literal["debug", "info", "warning", "error"]

_LIMITS = Limits()


@dataclass(frozen=True)
class Spelling:
    """How a field is written on the command line, where that is not its own name and type.

    option: `--grace`. metavar: what stands for a value in the help. choices: the values there are.
    default: what None comes to.
    """

    option: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    default: str | None = None


class Settings(BaseModel):
    """Everything a façade is started with; raises SettingsError, one line that names an option.

    Another process of this machine is given `model_dump_json()`, and has them back by
    `Settings.model_validate_json`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Path = Field(
        default=Path("model_store"), description="Folder of bundles and .mar files."
    )
    name: str = Field(default="anime", description="Name of the model in the store.")
    versions: Annotated[Mapping[str, float], Spelling("--version", default=NEWEST)] = Field(
        default={NEWEST: 1.0},
        description="VERSION, or VERSION=WEIGHT once for each of those that share the requests by "
        "their weights; `newest` is a version too.",
    )
    watch: bool = Field(
        default=False,
        description="Switch to a newer version as soon as it is there; else on SIGHUP alone.",
    )
    trust: Annotated[tuple[Path, ...], Spelling(metavar="FILE", default="none")] = Field(
        default=(),
        description="PEM of a public key: refuse what it has not signed. May be given more than "
        "once; one of the keys is enough.",
    )
    not_before: Annotated[str | None, Spelling(metavar="VERSION", default="any")] = Field(
        default=None,
        description="With --trust: refuse versions older than this one, whoever has signed them.",
    )
    max_age_days: Annotated[float | None, Spelling("--max-age", default="any")] = Field(
        default=None,
        gt=0,
        description="With --trust: refuse what was exported more days ago, by its signed time.",
    )
    copies: Annotated[Path | None, Spelling(default="TMPDIR")] = Field(
        default=None,
        description="Folder to make private copies of the versions served in.",
    )
    map_store: bool = Field(
        default=False,
        description="Serve from the store itself, without copies: nobody may change what is there.",
    )
    load_s: Annotated[float, Spelling("--load-limit")] = Field(
        default=180.0, gt=0, description="Seconds that a version has to be loaded in."
    )
    backend: Annotated[str, Spelling(choices=tuple(BACKENDS))] = Field(
        default="embedded", description="Compute in this process, or in a TorchServe."
    )
    engine: EngineName = Field(
        default="auto",
        description="embedded: compiled code (on a CPU, with Numba, of a bundle that has tables), "
        "or ONNX Runtime; auto takes compiled code where it can.",
    )
    address: str = Field(
        default="127.0.0.1:50051",
        description="HOST:PORT to listen on, port 0 for a free one; or unix:PATH.",
    )
    http: Annotated[str | None, Spelling(metavar="HOST:PORT", default="none")] = Field(
        default=None,
        description="HOST:PORT to answer plain HTTP with JSON on as well, as in 127.0.0.1:8000.",
    )
    page: Annotated[Path | None, Spelling(metavar="FOLDER", default="none")] = Field(
        default=None,
        description="Folder that `make web` built: shown under /page/ of --http, to whoever can "
        "connect.",
    )
    device: str = Field(default="cpu", description="embedded: cpu, cuda or cuda:1.")
    threads: int = Field(default=1, ge=1, description="embedded: threads for one batch.")
    torchserve: Annotated[str | None, Spelling(default="start one")] = Field(
        default=None, description="torchserve: HOST:PORT of the gRPC of one that runs."
    )
    keys: Path = Field(
        default=Path("key_file.json"),
        description="torchserve: the key_file.json of the one that runs.",
    )
    management: Annotated[
        str | None, Spelling(default="they are read again when the file changes")
    ] = Field(
        default=None, description="torchserve: URL of its management API, to renew its keys with."
    )
    calls: int = Field(
        default=1, ge=1, description="torchserve: batches it is given at a time, one a worker."
    )
    fallback: bool = Field(
        default=False, description="torchserve: compute in this process what it does not answer."
    )
    workers: int = Field(default=1, ge=1, description="Processes that share the address.")
    grace_s: Annotated[float, Spelling("--grace")] = Field(
        default=10.0, ge=0, description="Seconds that what is in flight has to end in."
    )
    max_candidates: int = Field(
        default=_LIMITS.candidates, ge=1, description="Most candidates of a request."
    )
    max_history: int = Field(
        default=_LIMITS.history, ge=0, description="Most watched anime in a request's history."
    )
    queued: int = Field(
        default=_LIMITS.queued, ge=1, description="Most requests that wait for a batch."
    )
    streamed: int = Field(
        default=_LIMITS.streamed,
        ge=1,
        description="Most requests of one stream that are taken up at once.",
    )
    histories: Annotated[
        str | None, Spelling(metavar="PATH|redis://...", default="none are kept")
    ] = Field(
        default=None,
        description="Where to keep what users have watched: a folder for LMDB, or a Redis.",
    )
    histories_mib: Annotated[int, Spelling("--histories-size")] = Field(
        default=1_024, ge=1, description="LMDB: MiB that may be recorded, of all users."
    )
    max_recorded: int = Field(default=MOST, ge=1, description="Most anime recorded of one user.")
    tls_cert: Annotated[Path | None, Spelling(default="no TLS")] = Field(
        default=None, description="PEM of the server's certificate chain; turns TLS on."
    )
    tls_key: Annotated[Path | None, Spelling(default="none")] = Field(
        default=None, description="PEM of its private key."
    )
    tls_client_ca: Annotated[Path | None, Spelling(default="any client")] = Field(
        default=None,
        description="PEM of authorities; only clients with a certificate of theirs get in.",
    )
    tokens: Annotated[Path | None, Spelling(default="no token")] = Field(
        default=None,
        description="File of bearer tokens, one a line; only who shows one gets in. Who may write "
        "histories has write-histories behind theirs.",
    )
    insecure_public: bool = Field(
        default=False, description="Listen to other machines without TLS. Anyone there may ask."
    )
    metrics_address: Annotated[str | None, Spelling(default="none")] = Field(
        default=None,
        description="HOST:PORT to show metrics on to Prometheus, as in 127.0.0.1:9100.",
    )
    log_level: Level = Field(
        default="info", description="The gravest alone, or down to a line for each request: debug."
    )
    tracing: bool = Field(
        default=False, description="Send spans by OTLP; the variables OTEL_... say where."
    )

    @property
    def limits(self) -> Limits:
        """What one request may hold, how many may wait, and how many of a stream are taken up."""
        return Limits(
            candidates=self.max_candidates,
            history=self.max_history,
            queued=self.queued,
            streamed=self.streamed,
        )

    def weights(self, available: Sequence[str]) -> dict[str, float]:
        """Weight by version of what is to be served, the newest last.

        available: the versions in the store, the newest last.
        """
        weights: dict[str, float] = {}
        for version, weight in self.versions.items():
            named = available[-1] if version == NEWEST else version
            weights[named] = weights.get(named, 0.0) + weight
        return {version: weights[version] for version in sorted(weights, key=natural_order)}

    @field_validator("versions", mode="before")
    @classmethod
    def _read_versions(cls, given: Any) -> Any:
        """Weight by version, also of texts as in 1=0.95 or 1."""
        if isinstance(given, Mapping):
            return given
        weights: dict[str, float] = {}
        for version, weight in map(_version_and_weight, given):
            if version in weights:
                raise SettingsError(f"--version {version}: is given twice")
            weights[version] = weight
        return weights

    @field_validator("versions")
    @classmethod
    def _check_versions(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for version, weight in weights.items():
            if not version or not 0 <= weight < float("inf"):
                raise _no_version(f"{version}={weight:g}")
        if not sum(weights.values()):
            raise SettingsError("--version: at least one weight should be above 0")
        return weights

    @field_validator("backend")
    @classmethod
    def _check_backend(cls, name: str) -> str:
        if name not in BACKENDS:
            raise SettingsError(f"--backend {name}: should be one of {', '.join(BACKENDS)}")
        return name

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.watch and NEWEST not in self.versions:
            raise SettingsError("--watch: has nothing to wait for; give --version newest as well")
        if self.page is not None and self.http is None:
            raise SettingsError("--page: has no HTTP to be shown over; give --http as well")
        for option, given in (
            ("--not-before", self.not_before is not None),
            ("--max-age", self.max_age_days is not None),
        ):
            if given and not self.trust:
                raise SettingsError(f"{option}: says nothing of what nobody signed; give --trust")
        if self.map_store and self.trust:
            raise SettingsError(
                "--map-store: whoever writes the store could change what --trust has checked; give "
                "one of the two"
            )
        own_torchserve = self.backend == "torchserve" and self.torchserve is None
        if self.watch and self.workers > 1 and own_torchserve:
            raise SettingsError(
                "--watch: several workers cannot change a TorchServe of their own; give "
                "--torchserve, or leave out --workers"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _in_one_line(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_lines(error))) from None


def option_of(field: str) -> str:
    """The option of a field, as users type it."""
    info = Settings.model_fields.get(field)
    spelled = [each for each in info.metadata if isinstance(each, Spelling)] if info else []
    named = spelled[0].option if spelled else None
    return named or f"--{field.replace('_', '-')}"


def _lines(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        place = option_of(str(fault["loc"][0])) if fault["loc"] else "settings"
        message = fault["msg"][:1].lower() + fault["msg"][1:]
        yield f"{place} {quoted(fault['input'])}: {message}"


def _version_and_weight(text: str) -> tuple[str, float]:
    version, equals, weight = text.partition("=")
    try:
        return version, float(weight) if equals else 1.0
    except ValueError:
        raise _no_version(text) from None


def _no_version(text: str) -> SettingsError:
    return SettingsError(
        f"--version {text}: should be VERSION or VERSION=WEIGHT, a weight of 0 or more, "
        "and each version once"
    )
