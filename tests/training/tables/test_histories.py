import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from anirank.errors import DataError
from training.tables.histories import with_histories
from training.tables.tables import Tables


def write(file, rows):
    """rows: user, anime, rating, when."""
    users, anime, ratings, times = zip(*rows, strict=True)
    columns = {
        "user_id": pa.array(users, pa.int64()),
        "anime_id": pa.array(anime, pa.int32()),
        "rating": pa.array(ratings, pa.float32()),
        "recorded_at": pa.array(times, pa.timestamp("ms", tz="UTC")),
    }
    pq.write_table(pa.table(columns), file)
    return file


def pairs(tables: Tables) -> dict[tuple[int, int], int]:
    users = tables.users["user_id"].to_numpy()[tables.ratings.user_row]
    anime = tables.anime["anime_id"].to_numpy()[tables.ratings.anime_row]
    listed = zip(users.tolist(), anime.tolist(), tables.ratings.rating.tolist(), strict=True)
    return {(user, each): rating for user, each, rating in listed}


def test_what_was_recorded_is_more_ratings_and_who_was_forgotten_is_left_out(tables, tmp_path):
    before = pairs(tables)
    (user, anime), *_ = before
    gone, back = [each for each in tables.users["user_id"].tolist() if each != user][:2]
    ids = tables.anime["anime_id"].tolist()
    file = write(
        tmp_path / "h.parquet",
        [
            (user, anime, 1.0, 5),
            (67_000_000, anime, 8.5, 6),  # whom nobody knew
            (67_000_000, ids[-1], None, 7),
            (67_000_000, 99_999_999, 3.0, 7),
            (10**12, anime, 3.0, 7),
            (gone, None, None, None),
            (back, None, None, None),
            (back, anime, 4.0, 9),
        ],
    )
    found = with_histories(tables, file)
    after = pairs(found.tables)
    kept = {pair: rating for pair, rating in before.items() if pair[0] not in (gone, back)}
    new = {(user, anime): 1, (67_000_000, anime): 9, (back, anime): 4}
    assert after == {**kept, **new}
    assert (found.new, found.replaced, found.forgotten) == (2, 1, 2)
    users = found.tables.users
    assert users["user_id"].is_monotonic_increasing
    assert gone not in users["user_id"].to_numpy()
    assert users[users["user_id"] == back].drop(columns="user_id").isna().all(axis=None)
    assert found.tables.fingerprint != tables.fingerprint
    refused = {reason: each.count for reason, each in found.refusals.by_file[file.name].items()}
    assert refused == {"watched, not rated": 1, "id out of range": 1, "orphan anime": 1}
    assert len(found.tables.ratings) == len(after)
    assert found.tables.ratings.rating.dtype == np.int8


def test_a_file_that_is_no_export_is_refused(tables, tmp_path):
    file = tmp_path / "h.parquet"
    pq.write_table(pa.table({"user_id": [1]}), file)
    with pytest.raises(DataError, match=r"no column 'anime_id'; found user_id; should be what"):
        with_histories(tables, file)
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        with_histories(tables, file)
