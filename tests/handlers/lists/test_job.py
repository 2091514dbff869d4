"""A folder of lists: what is in it, and that it is whole whatever ends the job."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import anirank
from anirank.errors import BundleError, ListsError
from bundles.bundle import Bundle
from bundles.files import stamp_of
from handlers.engine.query import Query, Ranking
from handlers.lists.job import DONE, MANIFEST, USERS, Job, Source
from handlers.lists.lister import Lister
from tests.toy.bundle import publish, write_toy

TOP, BLOCK = 10, 7
ASKED = np.array([7, *range(10, 410, 10), 1005])  # all whom the toy knows, and two others


@pytest.fixture
def job(toy, tmp_path):
    return Job(tmp_path / "lists", Source.of(toy), ASKED, TOP, BLOCK)


@pytest.fixture
def whole(job, toy):
    """The job, done."""
    job.begin()
    assert list(Lister(job, toy).make_all(job.missing())) == [7] * 6
    job.finish()
    return job


def test_each_list_is_what_the_engine_recommends_without_what_was_watched(whole, toy_dir, world):
    engine = anirank.load(toy_dir)
    table = pq.read_table(whole.folder)
    assert table["user_id"].to_pylist() == ASKED.tolist()
    for row in table.to_pylist():
        [ranking] = engine.rank([Query(user_id=row["user_id"], top_k=TOP)])
        assert isinstance(ranking, Ranking)
        for name, expected in (
            ("anime_id", ranking.anime_ids),
            ("score", ranking.scores),
            ("predicted_rating", ranking.ratings),
        ):
            assert row[name] == expected.tolist()
        assert row["known"] == (row["user_id"] not in (7, 1005))
        if row["known"]:
            watched = {anime for anime, _ in world.histories[row["user_id"] // 10 - 1]}
            assert not watched & set(row["anime_id"])


@pytest.mark.parametrize("block", [1, 41, 42, 1000])
def test_rows_are_the_same_whatever_the_size_of_a_block(whole, toy, tmp_path, block):
    other = replace(whole, folder=tmp_path / "other", block_users=block)
    other.begin()
    assert sum(Lister(other, toy).make_all(other.missing())) == len(ASKED)
    assert pq.read_table(other.folder).equals(pq.read_table(whole.folder), check_metadata=True)


def test_a_file_says_what_its_columns_are_and_of_which_model(whole, toy):
    schema = pq.read_schema(whole.file(0))
    assert schema.remove_metadata() == pa.schema(
        {
            "user_id": pa.int64(),
            "known": pa.bool_(),
            "anime_id": pa.list_(pa.field("element", pa.int64())),
            "score": pa.list_(pa.field("element", pa.float32())),
            "predicted_rating": pa.list_(pa.field("element", pa.float32())),
        }
    )
    digest = Source.of(toy).manifest_sha256.encode()
    assert schema.metadata == {
        b"anirank.name": b"toy",
        b"anirank.version": b"1",
        b"anirank.manifest_sha256": digest,
        b"anirank.top": b"10",
    }


def test_a_job_goes_on_with_what_is_missing_and_leaves_the_rest(whole, toy):
    before = {path.name: path.read_bytes() for path in whole.folder.iterdir()}
    for number in (1, 5):
        whole.file(number).unlink()
    half = whole.folder / ".block-000001.parquet.00ff00ff.part"  # of a worker that was killed
    half.write_bytes(before["block-000001.parquet"][:100])
    kept = {number: stamp_of(whole.file(number)) for number in (0, 2, 3, 4)}
    again = replace(whole)
    again.begin()
    assert again.missing() == [1, 5]
    assert not (whole.folder / DONE).exists()
    with pytest.raises(ListsError, match=r"block-000001\.parquet: is missing"):
        again.finish()
    assert list(Lister(again, toy).make_all(again.missing())) == [7, 7]
    again.finish()
    assert {path.name: path.read_bytes() for path in whole.folder.iterdir()} == before
    assert {number: stamp_of(whole.file(number)) for number in kept} == kept


def test_a_block_that_is_there_is_not_made_again(whole, toy):
    before = stamp_of(whole.file(3))
    assert Lister(whole, toy).make(3) == 7
    assert stamp_of(whole.file(3)) == before


def test_a_job_that_ended_before_it_had_a_manifest_begins_again(job):
    job.begin()
    (job.folder / MANIFEST).rename(job.folder / f".{MANIFEST}.part")
    job.begin()
    assert Job.read(job.folder).missing() == job.missing()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"top": 11}, "holds lists of top 10, not 11; "),
        ({"block_users": 8}, "holds lists of block_users 7, not 8; "),
        ({"users": ASKED[1:]}, "holds lists of users 42 .*, not 41 "),
        ({"users": ASKED + 1}, "holds lists of users 42 "),
        ({"source": Source("toy", "1", "00")}, "holds lists of bundle toy 1 .*, not toy 1 00; "),
    ],
)
def test_other_arguments_on_the_same_folder_are_refused(whole, changed, said):
    before = {path: stamp_of(path) for path in whole.folder.iterdir()}
    with pytest.raises(ListsError, match=said) as refused:
        replace(whole, **changed).begin()
    assert "\n" not in str(refused.value)
    assert {path: stamp_of(path) for path in whole.folder.iterdir()} == before


def test_a_folder_that_holds_something_else_is_refused(job):
    job.folder.mkdir()
    (job.folder / "thesis.txt").write_text("mine")
    with pytest.raises(ListsError, match=r"lists: holds thesis\.txt; give a new folder"):
        job.begin()
    assert [path.name for path in job.folder.iterdir()] == ["thesis.txt"]


def test_a_place_where_nothing_can_be_written_is_refused(job, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ListsError, match="cannot be written"):
        replace(job, folder=tmp_path / "file" / "lists").begin()


@pytest.mark.parametrize("damaged", ["", "[]", "{}", '{"format": 1, "bundle": 7}'])
def test_a_damaged_manifest_is_refused(whole, damaged):
    (whole.folder / MANIFEST).write_text(damaged)
    with pytest.raises(ListsError, match=rf"{MANIFEST}: damaged"):
        whole.begin()


def test_users_that_are_not_those_of_the_manifest_are_refused(whole, tmp_path):
    other = replace(whole, folder=tmp_path / "other", users=ASKED + 1)
    other.begin()
    shutil.copy(other.folder / USERS, whole.folder / USERS)
    with pytest.raises(ListsError, match=rf"{USERS}: not the users of {MANIFEST}"):
        whole.begin()


def test_another_bundle_than_the_jobs_makes_no_lists(job, store):
    other = publish(store / "toy/1", store, "2")
    with pytest.raises(BundleError, match=r"toy 2 is not the bundle .* begun with, toy 1"):
        Lister(job, Bundle.open(other))


def test_a_bundle_that_changed_since_makes_no_lists(job, store):
    manifest = store / "toy/1/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"created": "later"}))
    with pytest.raises(BundleError, match="or has changed since"):
        Lister(job, Bundle.open(manifest.parent))


@pytest.mark.slow
def test_a_bundle_without_a_finite_score_for_a_user_is_named(world, tmp_path):
    days = world.user_days.copy()
    days[3] = np.nan
    write_toy(replace(world, user_days=days), tmp_path / "toy/1")
    bundle = Bundle.open(tmp_path / "toy/1")
    job = Job(tmp_path / "lists", Source.of(bundle), ASKED, TOP, BLOCK)
    job.begin()
    with pytest.raises(BundleError, match="toy/1: no list for user 30 "):
        list(Lister(job, bundle).make_all(job.missing()))
    assert not list(job.folder.glob("*.parquet"))
