"""The files that an ONNX model takes its tensors from, other than its own.

Which of them a model may name is for its reader to say, before anything opens them. ONNX Runtime
does not tell, and the onnx package is not there where a bundle is served: so this reads the
protobuf encoding itself (https://protobuf.dev/programming-guides/encoding/), of which no more than
what leads to tensors, by the numbers of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from anirank.errors import BundleError
from bundles.files import open_regular

# By message, the fields that hold, or lead to, tensors: number and message.
_LEAD: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        **{5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph"},
        **{22: "SparseTensor", 23: "SparseTensor"},
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_DATA_LOCATION, _INSIDE = 14, 0  # of a tensor
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 100  # messages within each other, as protobuf itself reads


def check_external_data(path: Path, allowed: str | None = None) -> None:
    """Raise BundleError where a model takes tensors from another file than the one allowed.

    That stands beside it. Raises it too where what is read is no protobuf message.
    """
    try:
        with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as of:
            found = set(_files(of, 0, len(of), "Model", 0))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path}: not an ONNX model ({error})") from error
    for name in found - {allowed}:
        right = "none" if allowed is None else f"{allowed} alone"
        raise BundleError(f"{path}: takes weights from the file {name!r}, should from {right}")


def _files(of: mmap.mmap, at: int, end: int, message: str, depth: int) -> Iterator[str]:
    """Names of files in of[at:end], a message; empty where a tensor is outside of no named one."""
    if depth > _DEEPEST:
        raise ValueError("messages within messages, too deep")
    external, names = False, []
    for field, value, begin in _fields(of, at, end):
        if begin is None:
            external |= message == "Tensor" and field == _DATA_LOCATION and value != _INSIDE
        elif (inner := _LEAD[message].get(field)) == "Entry":
            external = True
            names += _location(of, begin, begin + value)
        elif inner is not None:
            yield from _files(of, begin, begin + value, inner, depth + 1)
    if external:
        yield from names or [""]


def _location(of: mmap.mmap, at: int, end: int) -> list[str]:
    """Where a pair of texts says `location`, what it says; of a text written twice, each."""
    texts: dict[int, list[bytes]] = {1: [], 2: []}
    for field, value, begin in _fields(of, at, end):
        if begin is not None and field in texts:
            texts[field].append(of[begin : begin + value])
    if b"location" not in texts[1]:
        return []
    return [text.decode(errors="replace") for text in texts[2]]


def _fields(of: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """Number, and value, of each field of a message; of bytes their length, and where they begin.

    Raises ValueError or IndexError where this is no message.
    """
    while at < end:
        tag, at = _varint(of, at)
        if tag >= 2**32:  # of which some readers take the lower half
            raise ValueError(f"a field of number {tag >> 3} at {at}")
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = _varint(of, at)
            yield field, value, None
        elif kind == _BYTES:
            length, at = _varint(of, at)
            if at + length > end:
                raise ValueError(f"{length} bytes at {at} do not end within their message")
            yield field, length, at
            at += length
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind} at {at}")
    if at > end:
        raise ValueError(f"a field at {end} does not end within its message")


def _varint(of: mmap.mmap, at: int) -> tuple[int, int]:
    """A number, and where the next thing begins."""
    number = 0
    for shift in range(0, 70, 7):
        byte = of[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (2**64 - 1), at
    raise ValueError(f"a number of more than 10 bytes before {at}")
