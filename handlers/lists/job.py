"""One folder of lists: whose they are, of which bundle, and what of them is made.

    _manifest.json          of what the lists are made; other arguments are refused
    _users.npy              whose they are
    block-000000.parquet    the lists of the first so many users, and so on
    _SUCCESS                all of them are there

A file appears whole or not at all, so that whatever ends a job, it goes on with what is missing.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from anirank.errors import BundleError, ListsError
from bundles import arrays, files
from bundles.bundle import MANIFEST as BUNDLE_MANIFEST
from bundles.bundle import Bundle

MANIFEST, USERS, DONE = "_manifest.json", "_users.npy", "_SUCCESS"
FORMAT = 1
# Who writes, told apart: of two who make the same block, whoever is last replaces it with the same.
_WRITER = uuid.uuid4().hex[:8]


@dataclass(frozen=True, slots=True)
class Source:
    """The bundle that lists are made of; sha256: of its manifest, and so of all that it lists."""

    name: str
    version: str
    manifest_sha256: str

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The identity of an opened bundle."""
        manifest = bundle.manifest
        digest = files.sha256(bundle.folder / BUNDLE_MANIFEST)
        return cls(manifest.name, manifest.version, digest)


@dataclass(frozen=True, eq=False)
class Job:
    """What a folder of lists holds once it is whole.

    users: int64[U], ascending. top: entries of a list at most. block_users: users of a file.

    job = Job(Path("lists"), Source.of(bundle), bundle.histories.user_id, top=100, block_users=1000)
    job.begin()
    """

    folder: Path
    source: Source
    users: NDArray[np.int64]
    top: int
    block_users: int

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The job that was begun in `folder`; raises ListsError where there is none."""
        try:
            told = json.loads((folder / MANIFEST).read_text("utf-8"))
            job = cls(
                folder,
                Source(**told["bundle"]),
                arrays.load(folder / USERS, np.int64),
                int(told["top"]),
                int(told["block_users"]),
            )
        except OSError as error:
            raise ListsError(f"{folder / MANIFEST}: cannot be read ({error.strerror})") from error
        except (BundleError, ValueError, KeyError, TypeError) as error:
            raise ListsError(f"{folder / MANIFEST}: damaged; give a new folder") from error
        if told != job._content:
            raise ListsError(f"{folder / USERS}: not the users of {MANIFEST}; give a new folder")
        return job

    def begin(self) -> None:
        """Make the folder a job's, or see that it is this job's already.

        Raises ListsError where it is another's, or holds something else.
        """
        with _written(self.folder):
            if (self.folder / MANIFEST).exists():
                self._check_same()
                if self.missing():
                    (self.folder / DONE).unlink(missing_ok=True)  # of a block that was removed
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            # Of a job that ended before it had a manifest there may be its users.
            if others := [path for path in self.folder.iterdir() if not _ours(path)]:
                raise ListsError(f"{self.folder}: holds {others[0].name}; give a new folder")
            arrays.save(self.folder / USERS, self.users, np.int64)
            files.write_json(self.folder / MANIFEST, self._content)

    @property
    def blocks(self) -> int:
        """How many there are, each a file."""
        return -(-len(self.users) // self.block_users)

    def missing(self) -> list[int]:
        """The numbers of the blocks that are not made yet."""
        made = {path.name for path in self.folder.iterdir()}
        return [number for number in range(self.blocks) if self.file(number).name not in made]

    def users_of(self, block: int) -> NDArray[np.int64]:
        """The users of a block, int64[B], ascending."""
        first = block * self.block_users
        return self.users[first : first + self.block_users]

    def file(self, block: int) -> Path:
        """Where the lists of a block stand once they are made."""
        return self.folder / f"block-{block:06}.parquet"

    def write(self, block: int, lists: pa.Table) -> None:
        """Write the lists of a block, whole or not at all; raises ListsError where it cannot."""
        with _written(self.folder), files.whole(self.file(block), _WRITER) as scratch:
            # Hardly two scores are the same: a dictionary makes the file half as large again.
            repeated = ["anime_id.list.element"]
            pq.write_table(lists, scratch, compression="zstd", use_dictionary=repeated)

    def finish(self) -> None:
        """Say that all is there; raises ListsError where a block is missing."""
        if missing := self.missing():
            raise ListsError(f"{self.file(missing[0])}: is missing; start the same again")
        with _written(self.folder):
            for left in self.folder.glob(".block-*.part"):  # of workers that were killed
                left.unlink(missing_ok=True)
            files.write_text(self.folder / DONE, "")

    @cached_property
    def _content(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.users.astype("<i8").tobytes()).hexdigest()
        return {
            "format": FORMAT,
            "bundle": asdict(self.source),
            "users": {"count": len(self.users), "sha256": digest},
            "top": self.top,
            "block_users": self.block_users,
        }

    def _check_same(self) -> None:
        there, asked = Job.read(self.folder)._content, self._content
        for name, value in asked.items():
            if there[name] != value:
                raise ListsError(
                    f"{self.folder}: holds lists of {name} {_told(there[name])}, not "
                    f"{_told(value)}; give a new folder, or what it was begun with"
                )


@contextmanager
def _written(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ListsError(f"{folder}: cannot be written ({error.strerror or error})") from error


def _ours(path: Path) -> bool:
    return path.name == USERS or path.suffix == ".part"


def _told(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
