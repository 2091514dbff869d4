from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.load.requests import Binary, Checked, Json, Proto, Tensors, query
from benchmarks.load.workload import Ids, Lines, Workload, WorkloadError, Zipf
from handlers.forms.binary import read_queries
from handlers.torchserve.inference import inference_pb2

ANIME = np.arange(1, 501, dtype=np.int64)


def workload(**given: Any) -> Workload:
    settings = {"candidates": Lines.read("20"), "history": Lines.read("5")} | given
    return Workload(**settings)


def ids(found: Ids | None) -> list[int]:
    assert found is not None
    return [int(each) for each in found]


def test_ids_follow_zipfs_law() -> None:
    draws = Zipf(np.arange(1, 101), 1.0).draw(np.random.default_rng(0), 200_000)
    counts = np.bincount(draws, minlength=101)[1:]
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.1)
    assert counts[0] / counts[99] == pytest.approx(100, rel=0.25)
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(counts), 1)[0]
    assert slope == pytest.approx(-1, abs=0.05)


def test_without_skew_all_ids_come_alike() -> None:
    draws = Zipf(np.arange(10), 0.0).draw(np.random.default_rng(0), 100_000)
    assert np.bincount(draws) == pytest.approx(np.full(10, 10_000), rel=0.06)


def test_distinct_ids_are_distinct_and_the_popular_ones_likelier() -> None:
    random, zipf = np.random.default_rng(0), Zipf(ANIME, 1.0)
    drawn = [zipf.distinct(random, 50) for _ in range(400)]
    assert all(len(np.unique(ids)) == 50 for ids in drawn)
    together = np.concatenate(drawn)
    assert (together <= 50).sum() > 3 * (together > 450).sum()
    assert len(zipf.distinct(random, 9_999)) == 500
    assert len(zipf.distinct(random, 0)) == 0


def test_the_same_seed_asks_the_same() -> None:
    first, second, other = (
        [query(ask) for ask in workload(seed=seed).asks(range(1, 100), ANIME, 50)]
        for seed in (3, 3, 4)
    )
    for one, two in zip(first, second, strict=True):
        assert one.user_id == two.user_id
        assert ids(one.candidate_ids) == ids(two.candidate_ids)
        np.testing.assert_array_equal(one.history_ratings, two.history_ratings)
    assert [q.user_id for q in first] != [q.user_id for q in other]


def test_a_file_gives_counts_or_the_ids_themselves(tmp_path: Path) -> None:
    file = tmp_path / "candidates.txt"
    file.write_text("7\n\n30\n11, 12 13\n")
    asks = workload(candidates=Lines.read(str(file)), history=Lines.read("0")).asks([5], ANIME, 200)
    assert {len(ask.candidate_ids) for ask in asks} == {7, 30, 3}
    assert [11, 12, 13] in [ask.candidate_ids.tolist() for ask in asks]
    assert {ask.user_id for ask in asks} == {5}
    assert not any(len(ask.history_ids) for ask in asks)


@pytest.mark.parametrize("text", ["", "\n", "1\nx\n", "-4\n", "1.5\n"])
def test_a_file_that_says_nothing_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "counts.txt"
    file.write_text(text)
    with pytest.raises(WorkloadError, match=r"counts\.txt"):
        Lines.read(str(file))
    with pytest.raises(WorkloadError, match="no-such-file"):
        Lines.read("no-such-file")


def test_every_form_asks_the_same() -> None:
    [ask] = workload(top_k=4).asks([7], ANIME, 1)
    request = inference_pb2.PredictionsRequest.FromString(Binary("anime", "1").write(ask))
    assert (request.model_name, request.model_version) == ("anime", "1")
    [asked] = read_queries(request.input["body"])
    assert asked.user_id == 7
    assert asked.top_k == 4
    assert ids(asked.candidate_ids) == ids(ask.candidate_ids)
    np.testing.assert_array_equal(asked.history_ratings, ask.history_ratings)
    assert b'"candidate_ids":[' in Json().write(ask)
    assert len(Tensors("anime").write(ask)) > 8 * 20 + 12 * 5


def test_a_reply_of_the_wrong_anime_is_told() -> None:
    asks = workload(top_k=2).asks([7], ANIME, 2)
    check = Checked(Json(), [ask.candidate_ids for ask in asks], 2)
    a, b = asks[1].candidate_ids[:2].tolist()
    check(b'{"ranking":[{"anime_id":%d},{"anime_id":%d}]}' % (a, b), 1)
    with pytest.raises(ValueError, match="1 anime"):
        check(b'{"ranking":[{"anime_id":%d}]}' % a, 1)
    with pytest.raises(ValueError, match="not asked for"):
        check(b'{"ranking":[{"anime_id":%d},{"anime_id":99999}]}' % a, 1)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever protobuf raises
        Checked(Proto(), [ask.candidate_ids for ask in asks], 2)(b"\xff\xff", 0)
