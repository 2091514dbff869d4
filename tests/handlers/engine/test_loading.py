"""`anirank.load`: a bundle as an engine, in one line."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import anirank
from anirank.errors import BundleError, DeviceUnavailable, SignatureError
from bundles.signature import sign_bundle
from handlers.engine.loading import load
from handlers.engine.query import Query, Ranking
from tests.bundles.test_signature import write_keys


def test_a_bundle_is_loaded_from_a_text_and_from_a_path(toy_dir, world):
    query = Query(user_id=10, top_k=5)
    for engine in (load(str(toy_dir)), load(toy_dir), anirank.load(str(toy_dir))):
        [ranking] = engine.rank([query])
        assert isinstance(ranking, Ranking)
        np.testing.assert_array_equal(ranking.anime_ids, world.rank(query).anime_ids)


def test_it_is_part_of_the_public_surface():
    assert anirank.load is load
    assert "load" in anirank.__all__


def test_who_trusts_a_key_loads_what_it_has_signed_and_nothing_else(toy_dir: Path, tmp_path: Path):
    folder = Path(shutil.copytree(toy_dir, tmp_path / "toy" / "1"))
    private, public = write_keys(tmp_path, "ours")
    with pytest.raises(SignatureError, match="is not signed"):
        anirank.load(folder, trust=[public])
    sign_bundle(folder, private)
    assert anirank.load(folder, trust=[public]).bundle.manifest.name == "toy"


def test_what_is_no_bundle_or_no_device_is_an_error(toy_dir, tmp_path):
    with pytest.raises(BundleError, match=r"manifest\.json: cannot be read"):
        anirank.load(tmp_path)
    with pytest.raises(DeviceUnavailable):
        anirank.load(toy_dir, device="abacus")
