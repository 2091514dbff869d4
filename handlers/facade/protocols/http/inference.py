"""The Open Inference Protocol over HTTP: tensors in JSON, or in bytes behind it."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import numpy as np
from starlette.routing import BaseRoute, Route

from anirank.errors import InvalidQuery, ServingError, quoted
from bundles.graph import OUTPUTS, Outputs
from handlers.facade.protocols.http.caller import HttpCaller
from handlers.facade.protocols.http.exchange import JSON, Exchange, Refused
from handlers.facade.protocols.http.gate import INFERENCE, SECURITY_HEADERS, Endpoint
from handlers.facade.protocols.http.kinds import dumped
from handlers.facade.protocols.http.methods import in_time
from handlers.facade.protocols.http.problems import Problem, problem_of
from handlers.facade.protocols.inference.answering import Asked, Inference, NotServed
from handlers.forms.json.body import read_json
from handlers.forms.open_inference import DATATYPES, Given, bytes_of

JSON_BYTES = "inference-header-content-length"  # of the JSON, behind which the tensors' bytes are
BINARY = "application/octet-stream"


class OverHttp:
    """The protocol's paths."""

    def __init__(self, inference: Inference, most: int) -> None:
        """Answer with `inference` what has up to `most` bytes."""
        self._inference, self._most = inference, most

    def routes(self) -> list[BaseRoute]:
        """What stands where."""
        found: list[BaseRoute] = [
            Route(INFERENCE, Endpoint(self._server), methods=["GET"]),
            Route(f"{INFERENCE}/health/live", Endpoint(self._live), methods=["GET"]),
            Route(f"{INFERENCE}/health/ready", Endpoint(self._ready), methods=["GET"]),
        ]
        for model in ("/models/{name}", "/models/{name}/versions/{version}"):
            found += [
                Route(f"{INFERENCE}{model}", Endpoint(self._model), methods=["GET"]),
                Route(f"{INFERENCE}{model}/ready", Endpoint(self._model_ready), methods=["GET"]),
                Route(f"{INFERENCE}{model}/infer", Endpoint(self._infer), methods=["POST"]),
            ]
        return found

    async def _server(self, exchange: Exchange) -> None:
        await _told(exchange, self._inference.server())

    async def _live(self, exchange: Exchange) -> None:
        await _told(exchange, {"live": True})

    async def _ready(self, exchange: Exchange) -> None:
        await _told(exchange, {"ready": _well(self._inference.ready())})

    async def _model(self, exchange: Exchange) -> None:
        try:
            told = self._inference.model(*_named(exchange))
        except NotServed as error:
            raise _not_found(error) from None
        await _told(exchange, told)

    async def _model_ready(self, exchange: Exchange) -> None:
        name, version = _named(exchange)
        try:
            ready = _well(self._inference.model_ready(name, version))
        except NotServed as error:
            raise _not_found(error) from None
        await _told(exchange, {"name": name, "ready": ready})

    async def _infer(self, exchange: Exchange) -> None:
        name, version = _named(exchange)
        try:
            caller = HttpCaller(exchange.scope)
            body = await exchange.body(self._most)
            asked, form = _read(name, version, body, caller)
        except InvalidQuery as error:
            raise Refused(problem_of(error)) from None
        left_s = caller.time_remaining()
        try:
            outcome = await in_time(self._inference.infer(name, asked, caller, left_s), left_s)
        except NotServed as error:
            raise _not_found(error) from None
        if isinstance(outcome, ServingError):
            await exchange.problem(problem_of(outcome))
            return
        try:
            await exchange.reply(outcome, form.kind, [*caller.trailers, *form.headers])
        finally:
            self._inference.read(caller, outcome)


class _Form:
    """How a call is answered: which outputs as bytes, and by which id.

    kind: the reply's media type; headers: that it needs beside. Known once it has been written.
    """

    def __init__(self, name: str, document: Mapping[str, Any]) -> None:
        self._name = name
        self._id = document.get("id")
        if self._id is not None and not isinstance(self._id, str):
            raise InvalidQuery("id", f"{quoted(self._id)} is not text")
        self._all_binary = _parameters(document, "parameters").get("binary_data_output", False)
        self.wanted: list[str] = []
        self._binary: dict[str, bool] = {}
        for item in _objects(document, "outputs"):
            output = item.get("name")
            if not isinstance(output, str):
                raise InvalidQuery("outputs", f"{quoted(output)} is not a name")
            binary = _parameters(item, f"{output} parameters").get("binary_data", self._all_binary)
            self.wanted.append(output)
            self._binary[output] = bool(binary)
        self.kind, self.headers = JSON, list[tuple[str, str]]()

    def write(self, version: str, outputs: Outputs) -> bytes:
        """The reply's body."""
        parts: list[bytes] = []
        told = []
        for name, array in outputs.items():
            tensor: dict[str, Any] = {
                "name": name,
                "datatype": DATATYPES[OUTPUTS[name].type],
                "shape": list(array.shape),
            }
            if self._binary.get(name, self._all_binary):
                parts.append(bytes_of(array))
                tensor["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                tensor["data"] = _values(array)
            told.append(tensor)
        document = {"model_name": self._name, "model_version": version, "outputs": told}
        head = dumped(document if self._id is None else {**document, "id": self._id})
        if parts:
            self.kind, self.headers = BINARY, [(JSON_BYTES, str(len(head)))]
        return b"".join((head, *parts))


def _read(name: str, version: str, body: bytes, caller: HttpCaller) -> tuple[Asked, _Form]:
    """What a body asks, and how it is to be answered; raises InvalidQuery."""
    head, rest = body, b""
    given = caller.header(JSON_BYTES.encode())
    if given is not None:
        if not (given.isdigit() and len(given) < 10 and int(given) <= len(body)):
            shown = quoted(given.decode("latin-1"))
            raise InvalidQuery(JSON_BYTES, f"{shown} is not a size within the body")
        head, rest = body[: int(given)], body[int(given) :]
    document = read_json(head)
    if not isinstance(document, dict):
        raise InvalidQuery("body", f"{quoted(document)} is not a JSON object")
    tensors: dict[str, Given] = {}
    for item in _objects(document, "inputs"):
        tensor = item.get("name")
        if not isinstance(tensor, str):
            raise InvalidQuery("inputs", f"{quoted(tensor)} is not a name")
        if tensor in tensors:
            raise InvalidQuery(tensor[:100], "is given twice")
        size = _parameters(item, f"{tensor[:100]} parameters").get("binary_data_size")
        data: Any = item.get("data")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(rest):
                raise InvalidQuery(tensor[:100], f"has {quoted(size)} bytes, of {len(rest)} left")
            data, rest = rest[:size], rest[size:]
        tensors[tensor] = Given(item.get("datatype"), item.get("shape"), data)
    if rest:
        raise InvalidQuery("body", f"has {len(rest)} bytes of no tensor")
    form = _Form(name, document)
    return Asked(version, tensors, form.wanted, form.write), form


def _objects(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise InvalidQuery(key, "is not a list of objects")
    if len(found) > 100:
        raise InvalidQuery(key, f"{len(found)} given, which no model has")
    return found


def _parameters(document: Mapping[str, Any], path: str) -> dict[str, Any]:
    found = document.get("parameters", {})
    if not isinstance(found, dict):
        raise InvalidQuery(path, f"{quoted(found)} is not an object")
    return found


def _values(array: np.ndarray[Any, Any]) -> list[Any]:
    values: list[Any] = array.ravel().tolist()
    return values


def _named(exchange: Exchange) -> tuple[str, str]:
    parameters = exchange.scope["path_params"]
    return parameters["name"], parameters.get("version", "")


def _well(ready: bool) -> bool:
    if not ready:
        raise Refused(Problem(HTTPStatus.SERVICE_UNAVAILABLE, "requests are not answered now"))
    return True


def _not_found(error: NotServed) -> Refused:
    return Refused(Problem(HTTPStatus.NOT_FOUND, str(error)))


async def _told(exchange: Exchange, document: Mapping[str, Any]) -> None:
    await exchange.without_body()
    await exchange.reply(json.dumps(document).encode(), JSON, SECURITY_HEADERS)
