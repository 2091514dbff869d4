import dataclasses
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from anirank.errors import Fault, InvalidQuery, WireError
from handlers.engine.query import Familiarity, Objective, Query, Ranking
from handlers.engine.reasons import Reasons
from handlers.filters.filter import Filter, Range, Values
from handlers.forms import binary, tensors

INT64 = st.integers(-(2**63), 2**63 - 1)


def vector(dtype: type[np.generic], size: int | None = None) -> st.SearchStrategy[NDArray[Any]]:
    return arrays_of.arrays(dtype, st.integers(0, 12) if size is None else size)


filters = st.sampled_from(
    [
        Filter(),
        Filter(genres=Values(none=("Ärger", "\ud800")), studios=Values(any=("",), all=("a", "a"))),
        Filter(years=Range(-(2**63), 2**63 - 1), episodes=Range(max=0)),
        Filter(without_ids=np.array([-1, 2**63 - 1]), only_ids=np.array([], np.int64)),
    ]
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    size, recorded = draw(st.integers(0, 5)), draw(st.integers(0, 3))
    return Query(
        user_id=draw(st.none() | INT64),
        candidate_ids=draw(st.none() | vector(np.int64)),
        history_ids=draw(vector(np.int64, size)),
        history_ratings=draw(vector(np.float32, size)),
        recorded_ids=draw(vector(np.int64, recorded)),
        recorded_ratings=draw(vector(np.float32, recorded)),
        profile=draw(st.none() | vector(np.float32)),
        top_k=draw(st.none() | INT64),
        objective=draw(st.sampled_from(Objective)),
        include_seen=draw(st.booleans()),
        include_adult=draw(st.booleans()),
        explain=draw(st.booleans()),
        filter=draw(st.none() | filters),
        diversity=draw(st.floats(0, 1)),
    )


@st.composite
def reasons(draw: st.DrawFn, ranked: int) -> Reasons:
    counts = draw(st.lists(st.integers(0, 4), min_size=ranked, max_size=ranked))
    return Reasons(
        offsets=np.cumsum([0, *counts]),
        anime_ids=draw(vector(np.int64, sum(counts))),
        ratings=draw(vector(np.float32, sum(counts))),
        genres=draw(vector(np.int64, sum(counts))),
        contributions=draw(vector(np.float32, sum(counts))),
        rests=draw(vector(np.float64, ranked)),
    )


@st.composite
def rankings(draw: st.DrawFn) -> Ranking:
    size = draw(st.integers(0, 5))
    return Ranking(
        anime_ids=draw(vector(np.int64, size)),
        scores=draw(vector(np.float32, size)),
        ratings=draw(vector(np.float32, size)),
        affinities=draw(vector(np.float32, size)),
        wides=draw(vector(np.float32, size)),
        unknown_candidates=draw(vector(np.int64)),
        unknown_history=draw(vector(np.int64)),
        history_size=draw(st.integers(0, 2**32 - 1)),
        familiarity=draw(st.sampled_from(Familiarity)),
        compute_s=draw(st.floats(0, 100)),
        reasons=draw(st.none() | reasons(size)),
    )


errors = st.builds(
    InvalidQuery, st.text(), st.text(), st.lists(st.builds(Fault, st.text(), st.text()), max_size=3)
)


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, InvalidQuery):
        assert found.faults == expected.faults
        assert (found.field, found.reason) == expected.faults[0]
        return
    for name in expected.__dataclass_fields__:
        one, other = getattr(found, name), getattr(expected, name)
        if isinstance(other, Filter):
            assert_equal(one, other)
        elif isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        elif isinstance(other, Reasons):
            assert_equal(one, other)
        else:
            assert type(one) is type(other)
            assert one == other


@given(batch=st.lists(queries(), max_size=5))
def test_queries_come_back_as_they_went(batch):
    body = binary.write_queries(batch)
    assert binary.is_binary(body)
    for found, query in zip(binary.read_queries(body), batch, strict=True):
        assert_equal(found, query)


@given(batch=st.lists(rankings() | errors, max_size=5))
def test_rankings_and_errors_come_back_as_they_went(batch):
    body = binary.write_rankings(batch)
    for found, answer in zip(binary.read_rankings(bytearray(body)), batch, strict=True):
        assert_equal(found, answer)


@given(batch=st.lists(queries(), max_size=5))
def test_the_safetensors_library_reads_what_is_written(batch):
    body = binary.write_queries(batch)
    found, (ours, _) = safetensors.numpy.load(body), tensors.read(body)
    assert found.keys() == ours.keys()
    for name, array in ours.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(
    arrays=st.dictionaries(
        st.text(max_size=5).filter(lambda name: name != "__metadata__"),
        st.sampled_from([np.int64, np.float64, np.float32, np.uint8, np.bool_]).flatmap(vector),
        min_size=1,
        max_size=4,
    ),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_the_safetensors_library_writes_is_read(arrays, metadata):
    found, said = tensors.read(safetensors.numpy.save(arrays, metadata))
    assert said == metadata
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def framed(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(
    dtype: str = "I64", shape: Sequence[int] = (1,), offsets: Sequence[int] = (0, 8)
) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


HOSTILE = [
    b"",
    b"1234567",
    struct.pack("<Q", 2**63) + b"{}",
    struct.pack("<Q", tensors.LARGEST_HEADER + 1) + b" " * (tensors.LARGEST_HEADER + 1),
    framed(b"\xff"),
    framed(b"[" * 100_000),
    framed(b'{"a":' + b"9" * 5_000 + b"}"),
    framed([1]),
    framed({"a": 1}),
    framed({"__metadata__": {"a": 1}}),
    framed(entry("F16")),
    framed(entry(shape=[2**62, 4], offsets=[0, 0]), b""),
    framed(entry(shape=[2**39]), b"12345678"),
    framed(entry(shape=[-1]), b"12345678"),
    framed(entry(shape=[True]), b"12345678"),
    framed(entry(offsets=[8, 0]), b"12345678"),
    framed(entry(offsets=[0, 16]), b"12345678"),
    framed(entry(), b"123456789"),
    framed(entry(offsets=[1, 9]), b"123456789"),
    framed({**entry(), "b": entry()["a"]}, b"12345678"),
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_bytes_are_refused(body):
    for read in (tensors.read, binary.read_queries, binary.read_rankings):
        with pytest.raises(WireError):
            read(body)


BATCH = binary.write_queries(
    [
        Query(user_id=1, candidate_ids=np.arange(9), top_k=2),
        Query(history_ids=np.arange(3), history_ratings=np.ones(3, np.float32)),
    ]
)


@settings(max_examples=500)
@given(place=st.integers(0, len(BATCH) - 1), byte=st.integers(0, 255), cut=st.booleans())
@example(place=0, byte=255, cut=False)
def test_a_damaged_batch_is_refused_or_read_but_never_anything_else(place, byte, cut):
    body = BATCH[:place] if cut else BATCH[:place] + bytes([byte]) + BATCH[place + 1 :]
    try:
        batch = binary.read_queries(body)
    except WireError:
        return
    assert all(len(query.history_ids) == len(query.history_ratings) for query in batch)


@given(junk=st.binary(max_size=200))
def test_junk_is_refused(junk):
    with pytest.raises(WireError):
        binary.read_queries(junk)


def test_a_batch_of_more_queries_than_one_may_hold_is_refused():
    body = binary.write_queries([Query()] * (binary.LARGEST_BATCH + 1))
    with pytest.raises(WireError, match="at most 4096"):
        binary.read_queries(body)


def test_what_is_empty_in_all_queries_is_left_out_and_comes_back_empty():
    body = binary.write_queries([Query(profile=np.empty(0, np.float32)), Query()])
    arrays, _ = tensors.read(body)
    assert arrays.keys() == {"user_id", "top_k", "objective", "flags"}
    stated, nothing = binary.read_queries(body)
    assert stated.profile is not None
    assert (len(stated.profile), nothing.profile, nothing.candidate_ids) == (0, None, None)


def test_an_archive_that_knows_no_live_histories_takes_what_has_none_and_no_other():
    one = Query(recorded_ids=np.array([3]), recorded_ratings=np.array([9], np.float32))
    forms = [tensors.read(binary.write_queries(batch))[1] for batch in ([Query()], [Query(), one])]
    assert [form["format"] for form in forms] == ["anirank.queries/3", "anirank.queries/4"]


def test_values_without_their_offsets_are_refused():
    arrays, metadata = tensors.read(binary.write_queries([Query(candidate_ids=np.arange(3))]))
    del arrays["candidate_offsets"]
    with pytest.raises(WireError, match="candidate_offsets"):
        binary.read_queries(tensors.write(arrays, metadata))


def test_flags_that_mean_nothing_are_refused():
    arrays, metadata = tensors.read(binary.write_queries([Query()]))
    arrays["flags"] = np.array([128], np.uint8)
    with pytest.raises(WireError, match="flags has 128"):
        binary.read_queries(tensors.write(arrays, metadata))


@pytest.mark.parametrize("offsets", [[0, 5, 3], [1, 2, 3], [0, 3, 4], [0, -1, 3], [0, 3]])
def test_offsets_that_do_not_part_the_values_are_refused(offsets):
    one = Query(candidate_ids=np.arange(3))
    arrays, metadata = tensors.read(binary.write_queries([one, one]))
    arrays |= {"candidate_offsets": np.array(offsets), "candidate_ids": np.arange(3)}
    with pytest.raises(WireError, match="candidate_offsets"):
        binary.read_queries(tensors.write(arrays, metadata))


@pytest.mark.parametrize("counts", [[2, 0], [-1, 1], [0, 0], [2**62, 2**62]])
def test_reasons_that_are_not_those_counted_are_refused(engine, counts):
    [ranking] = engine.rank([Query(candidate_ids=np.array([3, 6]), explain=True)])
    ranking = dataclasses.replace(
        ranking,
        reasons=Reasons(
            offsets=np.array([0, 0, 1]),
            anime_ids=np.array([3]),
            ratings=np.ones(1, np.float32),
            genres=np.array([-1]),
            contributions=np.ones(1, np.float32),
            rests=np.zeros(2),
        ),
    )
    arrays, metadata = tensors.read(binary.write_rankings([ranking]))
    arrays["explained_reasons"] = np.array(counts)
    with pytest.raises(WireError, match="explained_reasons"):
        binary.read_rankings(tensors.write(arrays, metadata))


def test_reasons_of_fewer_anime_than_are_ranked_are_refused(engine):
    answers = engine.rank([Query(candidate_ids=np.array([3, 6]), explain=True)])
    arrays, metadata = tensors.read(binary.write_rankings(answers))
    arrays = {name: array for name, array in arrays.items() if not name.startswith("explained")}
    with pytest.raises(WireError, match="explained_reasons has 0 entries, should have 2"):
        binary.read_rankings(tensors.write(arrays, metadata))


def test_an_error_outside_its_batch_is_refused():
    body = binary.write_rankings([InvalidQuery("a", "b")])
    with pytest.raises(WireError, match="place"):
        binary.read_rankings(body.replace(b'"place": 0', b'"place": 9'))


@pytest.mark.parametrize("faults", [b"[]        ", b'["a","b"] ', b'[["a"]]   ', b"{}        "])
def test_an_error_without_a_fault_that_can_be_read_is_refused(faults):
    body = binary.write_rankings([InvalidQuery("a", "b")])
    assert b'[["a", "b"]]' in body
    with pytest.raises(WireError, match="errors cannot be read"):
        binary.read_rankings(body.replace(b'[["a", "b"]]', faults.ljust(12)))


def test_a_batch_of_errors_of_many_faults_each_is_read():
    faults = [Fault(f"history[{i}].rating", "11.0 is outside 1..10") for i in range(20)]
    batch = [InvalidQuery("top_k", "0 is below 1", faults)] * binary.LARGEST_BATCH
    found = binary.read_rankings(binary.write_rankings(batch))
    for error, sent in zip(found, batch, strict=True):
        assert_equal(error, sent)


@pytest.mark.parametrize("count", [-1, 2**32])
def test_a_history_of_a_size_that_no_reply_could_hold_is_refused(engine, count):
    [ranking] = engine.rank([Query(candidate_ids=np.array([3]))])
    body = binary.write_rankings([dataclasses.replace(ranking, history_size=count)])
    with pytest.raises(WireError, match="history_size"):
        binary.read_rankings(body)


@pytest.mark.parametrize("other", [0, 2, 4])
def test_the_answers_of_another_version_are_refused_and_say_what_to_do(other):
    arrays, _ = tensors.read(binary.write_rankings([]))
    body = tensors.write(arrays, {"format": f"anirank.rankings/{other}"})
    with pytest.raises(WireError, match=rf"rankings/{other}', this .*rankings/3'.* of one version"):
        binary.read_rankings(body)


def test_json_is_never_taken_for_the_binary_form():
    for text in ("{}", "[]", '{"user_id": 1}', '         {"a": 1}'):
        assert not binary.is_binary(text.encode())
