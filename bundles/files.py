"""Files: written whole or not at all, told apart by their SHA-256, and seen to change."""

import errno
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
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


def open_regular(path: Path) -> BufferedReader:
    """A file, to be read; raises OSError for anything else: who opens a pipe may wait for ever."""
    without_waiting = getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | without_waiting))  # noqa: SIM115 - the caller closes it; Path.open takes no opener
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "is not a file", str(path))


def digest(path: Path) -> bytes:
    """The SHA-256 of a file, 32 bytes. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def copy(source: BufferedReader, target: Path) -> None:
    """Copy a file, as long as it is now, to `target`, a new one; raises OSError.

    Where the file system can, the copy takes no room until one of the two changes.
    """
    left = os.fstat(source.fileno()).st_size  # what is added meanwhile has no end
    with target.open("xb") as file:
        if sys.platform == "linux":
            try:
                while left and (
                    done := os.copy_file_range(source.fileno(), file.fileno(), min(left, 2**30))
                ):
                    left -= done
                return
            except OSError:  # of two file systems, or of one that cannot
                source.seek(file.tell())
        while left and (chunk := source.read(min(left, 2**20))):
            file.write(chunk)
            left -= len(chunk)


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
