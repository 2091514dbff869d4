"""What both transports of the protocol answer: metadata, readiness, and calls of the graph."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anirank.errors import InvalidQuery, ServingError
from bundles.graph import INPUTS, OUTPUTS, Outputs
from handlers.facade.backends.graph import GraphAnswer, GraphQuery
from handlers.facade.batching.batcher import Batcher
from handlers.facade.methods import RankingService
from handlers.facade.protocols.release import release
from handlers.facade.telemetry.request import Caller
from handlers.facade.versions.roster import Roster, ServedVersion
from handlers.forms.open_inference import Given, outputs_named, read_inputs, signature

METHOD = "ModelInfer"  # as it is counted and logged
EXTENSIONS = ["binary_tensor_data"]
NAME, PLATFORM = "anirank", "anirank"


class NotServed(Exception):  # noqa: N818 - it says what happened
    """A model, or a version of it, that is not served here."""


class Asked(NamedTuple):
    """One call of the graph.

    tensors: by name. outputs: the names of those wanted, empty for all. write: makes the reply of
    the version that answered, and of the outputs by name, those alone that are wanted.
    """

    model_version: str
    tensors: Mapping[str, Given]
    outputs: list[str]
    write: Callable[[str, Outputs], bytes]


class _Infer:
    """The kind of request that calls the graph; see `handlers.facade.calls.kinds.Kind`."""

    method = METHOD

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def parse(self, body: bytes, *_: object) -> tuple[Any, None]:
        """Never asked: each transport reads its own."""
        raise NotImplementedError

    def user(self, _: Any) -> None:
        """Nobody: a call may be of many users."""

    def query(self, request: Asked, of: ServedVersion, _: object) -> GraphQuery:
        """The inputs that a version's graph is called with."""
        outputs_named(request.outputs)
        fields = of.bundle.manifest.profile
        return GraphQuery(read_inputs(request.tensors, fields, of.limits))

    def batcher(self, of: ServedVersion) -> Batcher[GraphQuery, GraphAnswer]:
        """What takes the query."""
        return of.graph

    def write(self, of: ServedVersion, answer: GraphAnswer, queue_s: float) -> bytes:
        """The reply, in the form of its transport."""
        names = outputs_named(self._asked.outputs)
        return self._asked.write(of.name, {name: answer.outputs[name] for name in names})


class Inference:
    """The protocol over what a façade serves."""

    def __init__(self, service: RankingService, roster: Roster, ready: Callable[[], bool]) -> None:
        """Answer with the versions of `roster`; ready: whether a request would be answered now."""
        self._service, self._roster = service, roster
        self.ready = ready

    def server(self) -> dict[str, Any]:
        """The server's metadata."""
        return {"name": NAME, "version": release(), "extensions": EXTENSIONS}

    def model(self, name: str, version: str) -> dict[str, Any]:
        """A model's metadata; raises NotServed."""
        served = self._served(name, version)
        fields = len(served.bundle.manifest.profile)
        return {
            "name": name,
            "versions": [each.name for each in self._roster.versions],
            "platform": PLATFORM,
            "inputs": signature(INPUTS, fields),
            "outputs": signature(OUTPUTS, fields),
        }

    def model_ready(self, name: str, version: str) -> bool:
        """Whether a model would answer now; raises NotServed."""
        self._served(name, version)
        return self.ready()

    async def infer(
        self, name: str, asked: Asked, caller: Caller, timeout_s: float | None
    ) -> bytes | ServingError:
        """The reply to a call of the graph, or what it failed with; raises NotServed.

        `read` is to be told once a reply has been read.
        """
        self._served(name, asked.model_version)
        outcome, _ = await self._service.answer(_Infer(asked), asked, caller, timeout_s)
        return outcome

    def read(self, caller: Caller, reply: bytes) -> None:
        """Take note that a reply of `infer` has been read."""
        self._service.read(caller.peer(), len(reply))

    def _served(self, name: str, version: str) -> ServedVersion:
        """The version named, or the newest."""
        known = self._roster.describe("").name
        if name != known:
            raise NotServed(f"model {name[:100]!r} is not served; served is {known}")
        if not version:
            return self._roster.versions[-1]
        try:
            return self._roster.choose(version)
        except InvalidQuery as error:
            raise NotServed(str(error)) from None
