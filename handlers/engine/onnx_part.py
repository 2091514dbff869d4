"""The part of an ONNX model that some of its outputs need.

ONNX Runtime computes every node of a model whatever outputs are asked for
(https://github.com/microsoft/onnxruntime/issues/16013), and what serves has no library that writes
models. So the file is read as what it is, protocol buffers
(https://protobuf.dev/programming-guides/encoding), and written without what is not needed: fields
are left out, none is changed. The numbers of the fields are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

_GRAPH = 7  # of the model
_NODE, _INITIALIZER, _OUTPUT, _VALUE_INFO = 1, 5, 12, 13  # of the graph
_NODE_INPUT, _NODE_OUTPUT = 1, 2
_NAMES = {_INITIALIZER: 8, _OUTPUT: 1, _VALUE_INFO: 1}  # where each of these has its name
_LENGTHS = {1: 8, 5: 4}  # bytes of the types that have a fixed length
_VARINT, _BYTES = 0, 2


class _Field(NamedTuple):
    """One field: its number, all its bytes, and those of its value."""

    number: int
    whole: memoryview
    value: memoryview


def onnx_part(model: bytes, outputs: Collection[str]) -> bytes:
    """The model with these outputs alone and what they need; every input stays.

    Of models without nested graphs (If, Loop). Raises ValueError where the bytes are no model or
    have no such output.
    """
    return b"".join(onnx_parts(model, outputs))


def onnx_parts(model: bytes | memoryview, outputs: Collection[str]) -> "list[bytes | memoryview]":
    """What `onnx_part` joins: views of the model, for who writes it where it is not copied."""
    parts: list[bytes | memoryview] = []
    for field in _fields(memoryview(model)):
        if field.number != _GRAPH:
            parts.append(field.whole)
            continue
        kept = _needed(list(_fields(field.value)), outputs)
        size = sum(len(each.whole) for each in kept)
        parts += [_varint(_GRAPH << 3 | _BYTES), _varint(size), *(each.whole for each in kept)]
    return parts


def _needed(fields: list[_Field], outputs: Collection[str]) -> list[_Field]:
    names = {_text(field, _NAMES[_OUTPUT]) for field in fields if field.number == _OUTPUT}
    if not names >= set(outputs):
        raise ValueError(f"outputs are {', '.join(sorted(names))}; wanted {', '.join(outputs)}")
    needed, kept = set(outputs), []
    for field in reversed(fields):  # a node stands behind those it takes from
        if field.number == _NODE:
            node = list(_fields(field.value))
            made = {bytes(each.value).decode() for each in node if each.number == _NODE_OUTPUT}
            if not made & needed:
                continue
            needed |= {bytes(each.value).decode() for each in node if each.number == _NODE_INPUT}
        kept.append(field)
    return [
        field
        for field in reversed(kept)
        if field.number not in _NAMES
        or _text(field, _NAMES[field.number]) in (outputs if field.number == _OUTPUT else needed)
    ]


def _text(field: _Field, number: int) -> str:
    found = (bytes(each.value).decode() for each in _fields(field.value) if each.number == number)
    return next(found, "")


def _fields(data: memoryview) -> Iterator[_Field]:
    place = 0
    while place < len(data):
        begin = place
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            start, (_, place) = place, _read_varint(data, place)
        elif kind == _BYTES:
            length, start = _read_varint(data, place)
            place = start + length
        elif kind in _LENGTHS:
            start, place = place, place + _LENGTHS[kind]
        else:
            raise ValueError(f"not protocol buffers: a field of type {kind}")
        if place > len(data):
            raise ValueError("not protocol buffers: a field goes beyond the end")
        yield _Field(key >> 3, data[begin:place], data[start:place])


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """The number at `place` and where what follows begins."""
    value = shift = 0
    while place < len(data) and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError("not protocol buffers: a number without an end")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
