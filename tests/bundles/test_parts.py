"""Every part of a bundle is read as it was written: read(write(x)) == x."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from bundles.bundle import Bundle, write_bundle
from bundles.catalogue import Catalogue
from bundles.crosses import Crosses
from bundles.graph import INPUTS, OUTPUTS, signature
from bundles.histories import Histories
from bundles.manifest import Listed, Manifest
from bundles.profile import ProfileField, read_field
from bundles.vocabularies import read_vocabularies, write_vocabularies
from bundles.wide import Genre, Wide, read_wide

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.floats(allow_nan=False, allow_infinity=False, width=32)
DIGESTS = st.from_regex("[0-9a-f]{64}", fullmatch=True)
DAMPINGS = st.floats(0, allow_infinity=False, exclude_min=True)
some = settings(max_examples=60, deadline=None)


@contextmanager
def new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "part"


def ascending(least: int, most: int, highest: int = 2**63 - 1) -> st.SearchStrategy[np.ndarray]:
    ids = st.integers(1, highest)
    return st.lists(ids, min_size=least, max_size=most, unique=True).map(
        lambda found: np.array(sorted(found), np.int64)
    )


@st.composite
def catalogues(draw: st.DrawFn, anime: int | None = None) -> Catalogue:
    ids = draw(ascending(anime or 1, anime or 6, highest=2**20))
    texts = st.lists(
        TEXTS.map(lambda text: text.rstrip("\0")), min_size=len(ids), max_size=len(ids)
    )
    return Catalogue(
        anime_id=ids,
        titles=draw(texts),
        genres=draw(texts),
        types=draw(texts),
        adult=draw(arrays_of.arrays(np.bool_, len(ids))),
    )


@st.composite
def histories(draw: st.DrawFn) -> Histories:
    users = draw(ascending(0, 4))
    counts = draw(st.lists(st.integers(0, 5), min_size=len(users), max_size=len(users)))
    return Histories(
        user_id=users,
        offsets=np.cumsum([0, *counts], dtype=np.int64),
        anime_id=draw(arrays_of.arrays(np.int32, sum(counts))),
        rating=draw(arrays_of.arrays(np.int8, sum(counts), elements=st.integers(0, 10))),
    )


wides = st.builds(
    Wide,
    taste=FINITE,
    damping=DAMPINGS,
    genre_damping=DAMPINGS,
    genres=st.lists(st.builds(Genre, TEXTS, FINITE, FINITE, FINITE), max_size=3).map(tuple),
)


@st.composite
def crosses(draw: st.DrawFn, anime: int | None = None) -> Crosses:
    wide = draw(wides)
    size = anime or draw(st.integers(1, 5))
    kept = draw(st.integers(1, 4))
    return Crosses(
        candidate=draw(arrays_of.arrays(np.int32, (size, kept), elements=st.integers(0, size - 1))),
        weight=draw(arrays_of.arrays(np.float32, (size, kept))),
        expected=draw(arrays_of.arrays(np.float64, size)),
        genre=draw(arrays_of.arrays(np.bool_, (size, len(wide.genres)))),
        wide=wide,
    )


fields = st.builds(
    ProfileField, TEXTS.filter(bool), st.just("category"), st.lists(TEXTS, max_size=3).map(tuple)
) | st.builds(ProfileField, TEXTS.filter(bool), st.just("number"))
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
manifests = st.builds(
    Manifest,
    name=TEXTS,
    version=TEXTS,
    preset=TEXTS,
    label=TEXTS,
    created=TEXTS,
    data_fingerprint=TEXTS,
    libraries=st.dictionaries(TEXTS, TEXTS, max_size=2),
    uses_history=st.booleans(),
    profile=st.lists(fields, max_size=3, unique_by=lambda field: field.name).map(tuple),
    beta=SINGLE,
    mean=SINGLE,
    wide=st.none() | wides,
    parity=st.dictionaries(TEXTS, json_values, max_size=2),
    metrics=st.dictionaries(TEXTS, json_values, max_size=2),
    updated_from=st.none() | st.dictionaries(TEXTS, json_values, max_size=2),
    files=st.dictionaries(
        st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?", fullmatch=True),
        st.builds(Listed, DIGESTS, st.integers(0, 2**60)),
        max_size=3,
    ),
)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


@some
@given(made=catalogues())
def test_a_catalogue(made):
    with new_folder() as folder:
        made.write(folder)
        assert {file.name for file in folder.iterdir()} == set(Catalogue.FILES)
        assert_same(Catalogue.read(folder), made)


@some
@given(made=histories())
def test_histories(made):
    with new_folder() as folder:
        made.write(folder)
        assert {file.name for file in folder.iterdir()} == set(Histories.FILES)
        assert_same(Histories.read(folder), made)


@some
@given(made=crosses())
def test_crosses_and_the_numbers_beside_them(made):
    with new_folder() as folder:
        made.write(folder)
        assert {file.name for file in folder.iterdir()} == set(Crosses.FILES)
        assert_same(Crosses.read(folder, read_wide(made.wide.declared())), made)


@given(made=fields)
def test_a_field_of_the_profile(made):
    assert read_field(made.declared()) == made


@given(made=wides)
def test_the_numbers_of_the_wide_part(made):
    assert read_wide(made.declared()) == made


@some
@given(made=manifests)
def test_a_manifest(made):
    with new_folder() as path:
        made.write(path)
        assert Manifest.read(path) == made


@some
@given(
    ids=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 20)),
    known=st.sets(st.integers(1, 20), min_size=1),
)
def test_a_catalogue_knows_its_own_ids_and_no_others(ids, known):
    mine = sorted(known)
    texts = [""] * len(mine)
    catalogue = Catalogue(np.array(mine, np.int64), texts, texts, texts, np.zeros(len(mine), bool))
    expected = [mine.index(each) if each in known else -1 for each in ids]
    assert catalogue.rows(np.array(ids, np.int64)).tolist() == expected


def test_a_catalogue_of_ids_that_no_table_holds_is_refused():
    with pytest.raises(ValueError, match="at most 16777216 is read"):
        Catalogue(np.array([2**24 + 1]), [""], [""], [""], np.zeros(1, bool))


@given(made=st.dictionaries(TEXTS, st.lists(TEXTS | st.integers(), max_size=3), max_size=3))
def test_vocabularies(made):
    with new_folder() as folder:
        folder.mkdir()
        write_vocabularies(folder, made)
        assert read_vocabularies(folder) == made


@st.composite
def bundles(draw: st.DrawFn) -> tuple[Manifest, Catalogue, Histories, Crosses | None]:
    catalogue = draw(catalogues())
    of = draw(st.none() | crosses(anime=len(catalogue)))
    return draw(manifests), catalogue, draw(histories()), of


@some
@given(made=bundles())
def test_a_whole_bundle(made):
    manifest, catalogue, stored, of = made
    with new_folder() as folder:
        folder.mkdir()
        (folder / "ranker.onnx").write_bytes(b"a graph")
        write_bundle(folder, manifest, catalogue, stored, of, {})
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        bundle = Bundle.open(folder)
        assert set(bundle.manifest.files) == there - {"manifest.json"}
        wide = None if of is None else of.wide
        kept = dataclasses.replace(bundle.manifest, files=manifest.files)
        assert kept == dataclasses.replace(manifest, wide=wide)
        assert_same(bundle.catalogue, catalogue)
        assert_same(bundle.histories, stored)
        assert (bundle.crosses is None) == (of is None)
        if of is not None:
            assert_same(bundle.crosses, of)


@pytest.mark.parametrize(
    ("field", "wrong", "message"),
    [
        ("titles", ["one"], "title.npy: 1 entries, anime_id.npy has 2"),
        ("anime_id", np.array([2, 1]), "anime_id.npy: should be ascending"),
        ("anime_id", np.array([0, 1]), "anime_id.npy: should be ascending ids above 0"),
    ],
)
def test_a_catalogue_that_does_not_hold_together_is_not_made(field, wrong, message):
    columns = {
        "anime_id": np.array([1, 2]),
        "titles": ["a", "b"],
        "genres": ["", ""],
        "types": ["TV", "TV"],
        "adult": np.zeros(2, np.bool_),
    }
    with pytest.raises(ValueError, match=message):
        Catalogue(**columns | {field: wrong})


def test_a_text_that_would_not_come_back_is_not_written(tmp_path):
    adult = np.zeros(1, np.bool_)
    made = Catalogue(np.array([1]), ["ends with \0"], [""], [""], adult)
    with pytest.raises(ValueError, match=r"title\.npy: a text ends with NUL"):
        made.write(tmp_path / "catalogue")


def test_the_graph_is_written_as_it_is_declared():
    written = signature()
    for side, ports in (("inputs", INPUTS), ("outputs", OUTPUTS)):
        assert {
            entry["name"]: (entry["type"], tuple(entry["shape"])) for entry in written[side]
        } == ports
