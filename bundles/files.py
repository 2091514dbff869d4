"""Files: written whole or not at all, told apart by their SHA-256, and seen to change."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Of a file: device, inode, size in bytes, and the times of its content and of its entry. The last
# cannot be set back by who writes the file.
Stamp = tuple[int, int, int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """What changes whenever the file does; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest(path: Path) -> bytes:
    """The SHA-256 of a file, 32 bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits. Raises OSError."""
    return digest(path).hex()


@contextmanager
def whole(file: Path, writer: str = "") -> Iterator[Path]:
    """Where to write what becomes `file` at the end; until then, and on an error, nothing does.

    Who reads `file` meanwhile finds the one before, or this one. writer: tells apart those who may
    write the same file at once.
    """
    scratch = file.with_name(f".{file.name}{writer and '.'}{writer}.part")
    try:
        yield scratch
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with whole(file) as scratch:
        scratch.write_bytes(content)


def write_text(file: Path, text: str) -> None:
    """Write a file of UTF-8, whole or not at all."""
    write_bytes(file, text.encode())


def write_json(file: Path, content: Any, indent: int | None = 2) -> None:
    """Write a file of JSON, whole or not at all."""
    write_text(file, json.dumps(content, indent=indent, ensure_ascii=False))
