"""Tensors of the Open Inference Protocol as inputs of the graph, and its outputs as tensors.

A fault names the tensor it is in. Of the inputs, `candidate_ids` alone has to be there: the others
stand for what is not known where they are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anirank.errors import InvalidQuery, quoted
from bundles.graph import INPUTS, OUTPUTS, Inputs, Port
from bundles.profile import ProfileField
from handlers.engine.query import Limits
from handlers.engine.refusal import Refusal

# The protocol's names of the types that the graph has, and how their bytes are laid out.
DATATYPES = {"int64": "INT64", "float32": "FP32", "bool": "BOOL"}
_LAYOUT = {"INT64": "<i8", "FP32": "<f4", "BOOL": "?"}
REQUESTS = 64  # in one call: the first dimension


class Given(NamedTuple):
    """A tensor as it came. data: its bytes, or its values one after the other, nested or not."""

    datatype: object
    shape: object
    data: Any


def signature(ports: Mapping[str, Port], profile: int) -> list[dict[str, Any]]:
    """Inputs or outputs as the protocol's metadata has them; profile: how many fields that has."""
    return [
        {
            "name": name,
            "datatype": DATATYPES[port.type],
            "shape": [profile if each == "P" else -1 for each in port.shape],
        }
        for name, port in ports.items()
    ]


def read_inputs(
    tensors: Mapping[str, Given], fields: Sequence[ProfileField], limits: Limits
) -> Inputs:
    """The graph's inputs in tensors by name; raises InvalidQuery with all that is wrong in them."""
    refusal, found = Refusal(), dict[str, NDArray[Any]]()
    unknown = [name for name in tensors if name not in INPUTS]
    for name in unknown[:1]:
        refusal.add(name[:100] or "inputs", f"is not known; known are {', '.join(INPUTS)}")
    for name, port in INPUTS.items():
        if name in tensors:
            try:
                found[name] = _array(name, port, tensors[name])
            except InvalidQuery as error:
                refusal.extend(1, error.faults)
        elif name == "candidate_ids":
            refusal.add(name, "is missing")
    if refusal:
        raise refusal.error()
    inputs = _filled(found, len(fields))
    _check(inputs, fields, limits, refusal)
    if refusal:
        raise refusal.error()
    return inputs


def bytes_of(array: NDArray[Any]) -> bytes:
    """An output's bytes as the protocol has them."""
    return np.ascontiguousarray(array).tobytes()


def outputs_named(wanted: Sequence[str]) -> list[str]:
    """The outputs that are wanted, all where none is named; raises InvalidQuery of another."""
    for name in wanted:
        if name not in OUTPUTS:
            raise InvalidQuery(
                name[:100] or "outputs", f"is not known; known are {', '.join(OUTPUTS)}"
            )
    return list(dict.fromkeys(wanted)) or list(OUTPUTS)


def _array(name: str, port: Port, given: Given) -> NDArray[Any]:
    datatype = DATATYPES[port.type]
    if given.datatype != datatype:
        raise InvalidQuery(name, f"has datatype {quoted(given.datatype)}, should be {datatype}")
    shape = given.shape
    if not isinstance(shape, list | tuple) or len(shape) != len(port.shape):
        raise InvalidQuery(name, f"has shape {quoted(shape)}, should be [{', '.join(port.shape)}]")
    if not all(type(each) is int and 0 <= each < 2**31 for each in shape):
        raise InvalidQuery(name, f"has shape {quoted(shape)}, should be of whole numbers")
    count = 1
    for each in shape:
        count *= each
    if isinstance(given.data, bytes):
        layout = np.dtype(_LAYOUT[datatype])
        if len(given.data) != count * layout.itemsize:
            raise InvalidQuery(
                name,
                f"has {len(given.data)} bytes, should be {count * layout.itemsize} for {datatype} "
                f"of shape {list(shape)}",
            )
        return np.frombuffer(given.data, layout).reshape(shape).astype(port.type)
    return _of_values(name, port, given.data, count).reshape(shape)


def _of_values(name: str, port: Port, data: Any, count: int) -> NDArray[Any]:
    if not isinstance(data, list):
        raise InvalidQuery(name, f"data is {quoted(data)}, should be a list")
    flat = _flattened(name, data)
    if len(flat) != count:
        raise InvalidQuery(name, f"has {len(flat)} values, should be {count} by its shape")
    whole = port.type == "int64"
    for value in flat:
        # Not a number has no name in JSON, and null stands for it.
        right = type(value) is int if whole else value is None or type(value) in (int, float)
        if not right:
            raise InvalidQuery(name, f"{quoted(value)} is not of {DATATYPES[port.type]}")
    try:
        return np.array([np.nan if value is None else value for value in flat], port.type)
    except OverflowError:
        raise InvalidQuery(name, f"has a number outside {DATATYPES[port.type]}") from None


def _flattened(name: str, data: list[Any]) -> list[Any]:
    """Values one after the other, of a list of them or of a list of lists."""
    if not any(isinstance(each, list) for each in data):
        return data
    if not all(isinstance(each, list) for each in data):
        raise InvalidQuery(name, "data mixes values and lists")
    return [value for each in data for value in each]


def _filled(found: dict[str, NDArray[Any]], profile: int) -> Inputs:
    """All inputs, with what says nothing in place of those that are not there."""
    requests = len(found["candidate_ids"])
    history = found.get("history_ids", found.get("history_ratings"))
    items = 0 if history is None else history.shape[1]
    found.setdefault("user_id", np.zeros(requests, np.int64))
    found.setdefault("history_ids", np.zeros((requests, items), np.int64))
    found.setdefault("history_ratings", np.full((requests, items), np.nan, np.float32))
    found.setdefault("profile", np.full((requests, profile), np.nan, np.float32))
    return {name: found[name] for name in INPUTS}


def _check(
    inputs: Inputs, fields: Sequence[ProfileField], limits: Limits, refusal: Refusal
) -> None:
    requests, candidates = inputs["candidate_ids"].shape
    sizes = {"B": requests, "H": inputs["history_ids"].shape[1], "P": len(fields), "N": candidates}
    for name, port in INPUTS.items():
        right = [sizes[each] for each in port.shape]
        if list(inputs[name].shape) != right:
            refusal.add(name, f"has shape {list(inputs[name].shape)}, should be {right}")
    if not 1 <= requests <= REQUESTS:
        refusal.add("candidate_ids", f"{requests} requests given, should be 1 to {REQUESTS}")
    if not 1 <= requests * candidates <= limits.candidates:
        refusal.add(
            "candidate_ids",
            f"{requests * candidates} given, should be 1 to {limits.candidates} in all requests",
        )
    refusal.bounded("history_ids", sizes["H"], 0, limits.history)
    if refusal:
        return
    ratings = inputs["history_ratings"]
    wrong = np.argwhere((ratings < 1) | (ratings > 10))
    if len(wrong):
        row, column = wrong[0]
        refusal.add(
            "history_ratings",
            f"{ratings[row, column]} at [{row}, {column}] is outside 1..10; NaN is not rated",
        )
    for row, values in enumerate(inputs["profile"].tolist()):
        for column, (field, value) in enumerate(zip(fields, values, strict=True)):
            if fault := field.fault(value):
                refusal.add("profile", f"[{row}, {column}], {field.name}: {fault}")
