"""Named arrays in the safetensors layout, written and read with NumPy alone.

Eight bytes, little-endian: the length of the header. The header: JSON, an object from each name to
its dtype, shape and place, and under ``__metadata__`` an object from text to text. Then the data,
without gaps. https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import WireError

LARGEST_HEADER = 1024 * 1024  # bytes; ours take under 3 KiB

_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype[Any]] = {
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_encode = json.JSONEncoder(separators=(",", ":")).encode


def write(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The arrays and the metadata as bytes; the widest types first, so that all are aligned."""
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    parts, place = [], 0
    for name in sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize):
        array = np.ascontiguousarray(arrays[name])
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": (place, place + array.nbytes),
        }
        parts.append(array.data)
        place += array.nbytes
    text = _encode(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((struct.pack("<Q", len(text)), text, *parts))


def read(body: bytes | bytearray) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays, as views of the bytes, and the metadata; raises WireError for other bytes."""
    if len(body) < 8:
        raise WireError(f"{len(body)} bytes, should be at least 8")
    (length,) = struct.unpack_from("<Q", body)
    if length > min(len(body) - 8, LARGEST_HEADER):
        raise WireError(f"the header should take {length} bytes, {len(body) - 8} follow")
    header = _header(bytes(body[8 : 8 + length]))
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WireError(f"{_METADATA} should be an object of text")
    data = memoryview(body)[8 + length :]
    arrays, spans = {}, []
    for name, entry in header.items():
        arrays[name], begin, end = _array(name, entry, data)
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise WireError(f"{name} begins at {begin}, should follow at {place}")
        place = end
    if place != len(data):
        raise WireError(f"{len(data)} bytes of data, the arrays take {place}")
    return arrays, metadata


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header


def _array(name: str, entry: object, data: memoryview) -> tuple[NDArray[Any], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WireError(f"{name} should have dtype, shape and data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise WireError(f"{name} is {entry['dtype']!r}, should be {', '.join(_DTYPES)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > 2:
        raise WireError(f"{name} has shape {shape!r} at {offsets!r}")
    begin, end = offsets
    if not begin <= end <= len(data) or math.prod(shape) * dtype.itemsize != end - begin:
        raise WireError(
            f"{name}: {entry['dtype']}{shape} does not fit {begin}..{end} of {len(data)}"
        )
    return np.ndarray(shape, dtype, data, begin), begin, end


def _counts(values: object) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 2**40 for v in values)
