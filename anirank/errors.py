# ruff: noqa: N818 - these names say what happened, which "Error" at their end would not add to
"""Every error that a user of anirank can meet.

    AnirankError
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
        ├── InvalidQuery         one request that cannot be answered as it stands
        ├── Overloaded           too much waits already; come back later
        ├── DeadlinePassed       the answer would come too late
        ├── BackendUnavailable   what computes the scores does not answer
        ├── TorchServeError      a TorchServe that does not start
        ├── WorkerError          a process of several that does not start
        ├── TracingUnavailable   what tracing needs is not installed
        ├── SettingsError        settings that do not hold together
        ├── AddressUnavailable   an address the façade cannot listen on
        ├── AddressRefused       an address open to more than what protects it allows
        ├── CredentialsError     a certificate, a key or a token that cannot be used
        └── Unauthenticated      the façade does not know the caller's token

A message is one line that says what was found, where, and what would be right:
``users-score-2023.csv: no column 'rating'; found user_id, anime_id``. The command line ends with
the `exit_code` of the error that reaches it.
"""

from typing import ClassVar, Self


class AnirankError(Exception):
    """Any error a user can meet; its message is one line, fit to be shown as it is."""

    exit_code: ClassVar[int] = 2


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
    """Any error of serving; its message is one line, fit to be shown as it is."""

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


class InvalidQuery(ServingError):
    """A request that cannot be answered; its neighbours in a batch are not touched.

    `field` is the path of what is wrong (``candidate_ids``, ``history[3].rating``), `reason` what
    was found there and what would be right.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
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


class TracingUnavailable(ServingError):
    """The extra `tracing` is not installed."""


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


def quoted(value: object) -> str:
    """A value as a message shows it: enough of it to find it, however long it is."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes out
        return "an enormous number"
    return text if len(text) <= 60 else f"{text[:60]}…"
