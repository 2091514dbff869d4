"""Makes the lists of a job, a block of users at a time, with an engine of its own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anirank.errors import BundleError, InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.loading import engine_of
from handlers.engine.query import Familiarity, Query, Ranking
from handlers.lists.job import Job, Source

# Users that the engine is asked for at a time: a plan holds the whole catalogue, 200 kB.
TOGETHER = 64

COLUMNS = (
    ("user_id", pa.int64()),
    ("known", pa.bool_()),
    ("anime_id", pa.list_(pa.int64())),
    ("score", pa.list_(pa.float32())),
    ("predicted_rating", pa.list_(pa.float32())),
)


class Lister:
    """Makes the lists of blocks.

    for users in Lister(job, bundle).make_all(job.missing()):
        print(users)
    """

    def __init__(self, job: Job, bundle: Bundle) -> None:
        """For a job, with a bundle that must be the job's; raises BundleError where it is not."""
        found = Source.of(bundle)
        if found != job.source:
            raise BundleError(
                f"{bundle.folder}: {found.name} {found.version} is not the bundle that the job "
                f"was begun with, {job.source.name} {job.source.version}, or has changed since"
            )
        self._job = job
        self._engine = engine_of(bundle)
        self._schema = pa.schema(COLUMNS, _metadata(job))

    @classmethod
    def open(cls, folder: Path, bundle: Path, trust: Sequence[Path]) -> Self:
        """For the job begun in `folder`; raises ListsError, BundleError and SignatureError."""
        return cls(Job.read(folder), Bundle.open(bundle, trust=trust))

    def make_all(self, blocks: Sequence[int]) -> Iterator[int]:
        """Make one block after the other; after each, of how many users it is."""
        yield from map(self.make, blocks)

    def make(self, block: int) -> int:
        """Make a block, unless it is there; of how many users it is. Raises ListsError."""
        users = self._job.users_of(block)
        if not self._job.file(block).exists():  # else whoever made it was killed before saying so
            self._job.write(block, self._table(users))
        return len(users)

    def _table(self, users: NDArray[np.int64]) -> pa.Table:
        rankings = _ranked(self._engine, users, self._job.top)
        offsets = np.cumsum([0, *(len(each.anime_ids) for each in rankings)], dtype=np.int32)
        lists = (
            np.concatenate([each.anime_ids for each in rankings]),
            np.concatenate([each.scores for each in rankings]),
            np.concatenate([each.ratings for each in rankings]),
        )
        return pa.table(
            [
                pa.array(users),
                pa.array([each.familiarity is Familiarity.KNOWN for each in rankings]),
                *(pa.ListArray.from_arrays(offsets, pa.array(values)) for values in lists),
            ],
            schema=self._schema,
        )


def _ranked(engine: Engine, users: NDArray[np.int64], top: int) -> list[Ranking]:
    rankings = []
    for first in range(0, len(users), TOGETHER):
        asked = users[first : first + TOGETHER].tolist()
        answers = engine.rank([Query(user_id=user, top_k=top) for user in asked])
        for user, answer in zip(asked, answers, strict=True):
            if isinstance(answer, InvalidQuery):
                raise BundleError(f"{engine.bundle.folder}: no list for user {user} ({answer})")
            rankings.append(answer)
    return rankings


def _metadata(job: Job) -> dict[str, str]:
    source = job.source
    return {
        "anirank.name": source.name,
        "anirank.version": source.version,
        "anirank.manifest_sha256": source.manifest_sha256,
        "anirank.top": str(job.top),
    }
