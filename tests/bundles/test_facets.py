import shutil
from pathlib import Path

import numpy as np
import pytest

from anirank.errors import BundleError
from bundles.bundle import FACETS, Bundle
from bundles.facets import Facets

GENRES = [["Action", "Sci-Fi"], [], ["Sci-Fi"], ["Action", "Action"]]
TYPES = [["TV"], ["Movie"], ["TV"], []]
YEARS = np.array([[1998, 1999], [0, 0], [2023, 0], [2001, 2001]], np.int16)
EPISODES = np.array([26, 1, 0, 3_057], np.int32)


@pytest.fixture
def facets() -> Facets:
    return Facets.of({"genres": GENRES, "types": TYPES}, YEARS, EPISODES)


@pytest.fixture
def folder(facets: Facets, tmp_path: Path) -> Path:
    facets.write(tmp_path / "facets")
    return tmp_path / "facets"


def test_what_is_written_is_read(facets, folder):
    found = Facets.read(folder, 4)
    assert found.columns == ["genres", "genres", "types", "types"]
    assert found.values == ["Action", "Sci-Fi", "Movie", "TV"]
    np.testing.assert_array_equal(found.offsets, [0, 2, 4, 5, 7])
    np.testing.assert_array_equal(found.rows, [0, 3, 0, 2, 1, 0, 2])
    np.testing.assert_array_equal(found.years, YEARS)
    np.testing.assert_array_equal(found.episodes, EPISODES)
    assert found.of_column("types") == {"Movie": 2, "TV": 3}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("column.npy", np.array([b"genres"]), "column.npy: 1 entries, value.npy has 4"),
        ("value.npy", np.array([b"A", b"A", b"B", b"C"]), "has a value of a column twice"),
        ("offsets.npy", np.array([0, 2, 7]), "offsets.npy: 3 entries, 4 values need 5"),
        ("offsets.npy", np.array([0, 4, 2, 5, 7]), "should ascend from 0 to 7"),
        ("row.npy", np.array([0, 3, 0, 2, 1, 0, 4], np.int32), "should be rows from 0 to 3"),
        ("row.npy", np.array([0, 3, 0, 2, 1, 0, -1], np.int32), "should be rows from 0 to 3"),
        ("years.npy", YEARS[:3], r"years.npy: \[3, 2\], should be \[4, 2\]"),
        ("episodes.npy", EPISODES[:1], "episodes.npy: 1 entries, should be 4"),
        ("episodes.npy", EPISODES.astype(np.int64), "episodes.npy: int64"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused_by_name(folder, file, content, said):
    np.save(folder / file, content)
    with pytest.raises(BundleError, match=said):
        Facets.read(folder, 4)


def test_a_bundle_of_before_lets_know_genres_and_types(toy):
    assert not {*FACETS} & {*toy.manifest.files}
    genres = toy.facets.of_column("genres")
    assert [*genres] == ["Action", "Sci-Fi"]
    for genre, value in genres.items():
        span = slice(*toy.facets.offsets[value : value + 2])
        rows = [row for row, of in enumerate(toy.catalogue.genres) if genre in of.split(", ")]
        assert toy.facets.rows[span].tolist() == rows
    assert [*toy.facets.of_column("types")] == ["TV"]
    assert (toy.facets.years, toy.facets.episodes) == (None, None)


def test_a_bundle_lacks_all_of_its_facets_or_none(personal_bundle, tmp_path):
    shutil.copytree(personal_bundle.folder, tmp_path / "1")
    (tmp_path / "1" / FACETS[2]).unlink()
    with pytest.raises(BundleError, match=r"facets/offsets.npy: is missing"):
        Bundle.open(tmp_path / "1")
