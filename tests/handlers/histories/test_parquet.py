import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anirank.errors import HistoriesError
from handlers.engine.query import Query
from handlers.histories.histories import Histories, Watched
from handlers.histories.opening import open_store
from handlers.histories.parquet import Counts, export_to, import_from
from tests.handlers.histories.test_one_history import commanded

NAN = float("nan")


def in_a_loop(place: str, do, create: bool = True):
    async def done():
        store = open_store(place, 16, create)
        try:
            return await do(store)
        finally:
            await store.close()

    return asyncio.run(done())


async def fill(store) -> None:
    histories = Histories(store)
    for user, ids, ratings in ((7, [3, 6], [9, NAN]), (5, [3], [2.5]), (9, [6], [1])):
        await histories.record(Watched(user, np.array(ids), np.array(ratings, np.float32)))
    await histories.forget(5)
    await histories.forget(9)
    await histories.record(Watched(9, np.array([12]), np.array([4], np.float32)))


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_what_is_exported_and_imported_is_what_was_there(kind, tmp_path, request):
    place = str(tmp_path / "h") if kind == "lmdb" else request.getfixturevalue("redis_server").url
    in_a_loop(place, fill)
    file, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    said = commanded("histories", "export", str(file), "--histories", place)
    assert "3 anime of 2 users; forgotten: 2" in said.replace("\n", " ")
    rows = [tuple(row.values())[:3] for row in pq.read_table(file).to_pylist()]
    forgotten, kept = [(5, None, None), (9, None, None)], [(7, 3, 9), (7, 6, None), (9, 12, 4)]
    assert sorted(rows, key=str) == sorted([*forgotten, *kept], key=str)
    copy = str(tmp_path / "copy")
    for _ in range(2):  # the second changes nothing
        commanded("histories", "import", str(file), "--histories", copy)
        commanded("histories", "export", str(other), "--histories", copy)
        assert pq.read_table(other).equals(pq.read_table(file))


def test_an_import_keeps_the_later_of_both_and_forgets_who_was_forgotten(tmp_path):
    place, file = str(tmp_path / "here"), tmp_path / "there.parquet"
    in_a_loop(str(tmp_path / "there"), fill)
    in_a_loop(str(tmp_path / "there"), lambda store: export_to(store, file))

    async def later(store):
        histories = Histories(store)
        for user in (5, 7):
            await histories.record(
                Watched(user, np.array([3, 60]), np.array([1, 1], np.float32), "a")
            )
        assert await import_from(store, file) == Counts(2, 3, 2)
        seven, _ = await histories.counted(Query(user_id=7))
        assert seven.recorded_ids.tolist() == [6, 3, 60]
        assert seven.recorded_ratings[1] == 1
        five, _ = await histories.counted(Query(user_id=5))
        assert five.user_id is None

    in_a_loop(place, later)


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_a_file_that_is_no_export_is_refused_and_nothing_is_taken_of_it(tmp_path, content):
    file = tmp_path / "file.parquet"
    if content is None:
        pq.write_table(pa.table({"user_id": [1], "rating": [2.0]}), file)
    else:
        file.write_bytes(content)
    with pytest.raises(
        HistoriesError, match=r"file\.parquet: (has user_id, rating|cannot be read)"
    ):
        in_a_loop(str(tmp_path / "h"), lambda store: import_from(store, file))


def test_an_export_that_cannot_be_written_leaves_nothing(tmp_path):
    in_a_loop(str(tmp_path / "h"), fill)
    with pytest.raises(HistoriesError, match="cannot be written"):
        in_a_loop(str(tmp_path / "h"), lambda store: export_to(store, tmp_path / "no" / "file"))
    assert not Path(tmp_path / "no").exists()
