# ruff: noqa: N818 - these names say what happened, which "Error" at their end would not add to
"""Every error that a user of anirank can meet.

    AnirankError
    ├── ExtraMissing             a package that an extra installs
    ├── DataError                the input files, or a prepared folder
    ├── PresetError              the declaration of a model
    ├── RunError                 a run folder
    ├── ExportError              making a bundle from a run
    │   └── ParityError          two forms of a model that disagree
    └── ServingError             serving a bundle, or calling what serves it
        ├── BundleError          a bundle that is missing, changed or does not hold together
        │   └── SignatureError   a bundle that nobody who is trusted has signed
        ├── DeviceUnavailable    the device asked for cannot run the graph
        ├── WireError            bytes that are not a batch in the binary form
        ├── MalExportError       a file that is not a list that MyAnimeList exported
        ├── InvalidQuery         one request that cannot be answered as it stands
        ├── Overloaded           too much waits already; come back later
        ├── DeadlinePassed       the answer would come too late
        ├── BackendUnavailable   what computes the scores does not answer
        ├── TorchServeError      a TorchServe that does not start
        ├── WorkerError          a process of several that does not start
        ├── HistoriesError       a store of histories that cannot be used, or a file of them
        ├── HistoriesOff         the façade keeps no histories
        ├── ListsError           lists in bulk that cannot be made, or not in that folder
        ├── SettingsError        settings that do not hold together
        ├── AddressUnavailable   an address the façade cannot listen on
        ├── AddressRefused       an address open to more than what protects it allows
        ├── CredentialsError     a certificate, a key or a token that cannot be used
        ├── Unauthenticated      the façade does not know the caller's token
        └── Forbidden            the caller may not do this, whoever they are

A message is one line that says what was found, where, and what would be right:
``users-score-2023.csv: no column 'rating'; found user_id, anime_id``. The command line ends with
the `exit_code` of the error that reaches it.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, NamedTuple, Self


class AnirankError(Exception):
    """Any error a user can meet; its message is one line, fit to be shown as it is."""

    exit_code: ClassVar[int] = 2


class ExtraMissing(AnirankError):
    """What was asked for needs a package that is not installed; an extra of anirank installs it."""


class DataError(AnirankError):
    """An input file or prepared folder that is missing, unreadable or empty."""


class PresetError(AnirankError):
    """A preset that does not exist or does not hold together."""


class RunError(AnirankError):
    """A run folder that is missing, incomplete or does not fit what it is used with."""


class ExportError(AnirankError):
    """A run that cannot be made into a bundle."""


class ParityError(ExportError):
    """Two forms of the same model that do not give the same answer."""


class ServingError(AnirankError):
    """Any error of serving; its message is one line, fit to be shown as it is.

    told: what callers of a server are told in its place, where the message names what is only for
    who runs it (an address, a path).
    """

    told: str | None = None

    def settled(self) -> Self:
        """The error as an outcome: without its traceback, whose frames hold what was refused.

        That may be millions of bytes, kept for as long as the caller takes to read the answer.
        """
        self.__cause__ = self.__context__ = self.__traceback__ = None
        return self


class BundleError(ServingError):
    """A bundle that is missing, incomplete, changed or of another format."""


class SignatureError(BundleError):
    """A bundle whose manifest no key that is trusted has signed."""


class DeviceUnavailable(ServingError):
    """The device asked for is not there, or this installation cannot use it."""


class WireError(ServingError):
    """Bytes that do not hold a batch of queries or rankings in the binary form."""


class MalExportError(ServingError):
    """A file that is not a list that MyAnimeList exported, or a larger one than is read."""


class Fault(NamedTuple):
    """One thing that is wrong in a request.

    `field` is its path (``candidate_ids``, ``history[3].rating``), `reason` what was found there
    and what would be right.
    """

    field: str
    reason: str


class InvalidQuery(ServingError):
    """A request that cannot be answered; its neighbours in a batch are not touched.

    `faults` is everything that is wrong in it; `field` and `reason` are those of the first. Of very
    many the first are there, and a last fault of the field ``request`` says how many more.
    """

    def __init__(self, field: str, reason: str, others: Iterable[Fault] = ()) -> None:
        """Say what is wrong at `field`, and the `others` that are wrong beside it."""
        self.faults = (Fault(field, reason), *others)
        super().__init__("; ".join(f"{fault.field}: {fault.reason}" for fault in self.faults))
        self.field = field
        self.reason = reason


class Overloaded(ServingError):
    """The queue is full; `retry_after_s` is how many seconds to wait before trying again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlinePassed(ServingError):
    """The request's deadline passed before it was computed."""


class BackendUnavailable(ServingError):
    """The backend cannot be reached, or answered something that is no answer."""


class WorkerError(ServingError):
    """One of the processes that were to share an address ended at its start."""


class TorchServeError(ServingError):
    """TorchServe, or the Java it needs, cannot be started."""


class ListsError(ServingError):
    """A folder that holds other lists or cannot be written, or workers that cannot make them."""


class HistoriesError(ServingError):
    """A store of histories that is of another kind or damaged, or a file that holds none."""


class HistoriesOff(ServingError):
    """What is asked for needs a store of histories, and the façade was started without one."""


class SettingsError(ServingError):
    """Settings of a façade of which one is not what it should be, or does not go with another."""


class AddressUnavailable(ServingError):
    """The address is in use or cannot be listened on."""


class AddressRefused(ServingError):
    """The address is open to other machines, and too little protects the server from them."""


class CredentialsError(ServingError):
    """A file of a certificate, of a key or of tokens that cannot be used."""


class Unauthenticated(ServingError):
    """The call carried no token that the façade knows."""


class Forbidden(ServingError):
    """The caller has not the right to do this: their token, or the server's address, gives none."""


def quoted(value: object) -> str:
    """A value as a message shows it: enough of it to find it, however long it is."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes out
        return "an enormous number"
    return text if len(text) <= 60 else f"{text[:60]}…"


# What the packages of extras are imported as, where that is not their name.
MODULES = {
    "hdrhistogram": "hdrh",
    "onnxruntime-gpu": "onnxruntime",
    "opentelemetry-exporter-otlp-proto-grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "torch-model-archiver": "model_archiver",
    "torchserve": "ts",
}


@contextmanager
def naming_the_extra(preferred: str = "") -> Iterator[None]:
    """Turn a module that is not found into an ExtraMissing, where an extra would bring it.

    The package's own metadata says which: the `preferred` extra, else the first in the order of
    pyproject.toml, that requires it. Any other missing module is a fault of the code, and its error
    stays as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        for package, extra in sorted(_packages_of_extras(), key=lambda each: each[1] != preferred):
            if _holds(package, error.name or "") and not _installed(package):
                raise ExtraMissing(
                    f"{package} is not installed: pip install 'anirank[{extra}]'"
                ) from error
        raise


def _packages_of_extras() -> Iterator[tuple[str, str]]:
    """Each package that an extra requires, with that extra."""
    from importlib import metadata

    lines = metadata.requires("anirank") if _installed("anirank") else None
    for line in lines or ():
        if found := re.match(r"""([\w.-]+).*;.*\bextra == ["']([\w-]+)["']""", line):
            yield found[1], found[2]


def _holds(package: str, module: str) -> bool:
    """Whether a package has a module, or stands in it as in a namespace."""
    own = MODULES.get(package, package.replace("-", "_"))
    return f"{module}.".startswith(f"{own}.") or f"{own}.".startswith(f"{module}.")


def _installed(package: str) -> bool:
    from importlib import metadata  # here, as who has everything need not wait for it

    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
