import contextlib
import io
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anirank.errors import BundleError
from bundles import signature
from bundles.bundle import GRAPHS, ONNX, Bundle
from bundles.manifest import Manifest
from tests.bundles.test_signature import write_keys


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def copy(toy_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_dir, tmp_path / "store" / "toy" / "1"))


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def files(folder: Path) -> list[str]:
    return sorted(json.loads((folder / "manifest.json").read_text())["files"])


def test_a_bundle_of_our_own_export_opens(bundle_dir):
    bundle = Bundle.open(bundle_dir)
    assert bundle.manifest.name == bundle_dir.parent.name
    assert len(bundle.catalogue) > 0


def test_one_changed_byte_in_any_file_is_an_error_that_names_it(copy):
    for name in files(copy):
        path = copy / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"{name}: SHA-256 is"):
            Bundle.open(copy)
        path.write_bytes(content + b"x")
        with pytest.raises(BundleError, match=f"{name}: has .* bytes"):
            Bundle.open(copy)
        path.write_bytes(content)
    Bundle.open(copy)


def test_a_missing_file_is_an_error_that_names_it_but_for_a_graph_not_used(copy):
    for name in files(copy):
        path = copy / name
        path.rename(path.with_suffix(".away"))
        if name in GRAPHS:
            bundle = Bundle.open(copy)
            with pytest.raises(BundleError, match=f"{name}: is missing"):
                bundle.graph_file(name)
        else:
            with pytest.raises(BundleError, match=f"{name}: is missing"):
                Bundle.open(copy)
        path.with_suffix(".away").rename(path)


def cut(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def emptied(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def swapped(path: Path, other: Path) -> None:
    """The file's content and that of another file of the bundle change places."""
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def a_folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_outside(path: Path, _: Path) -> None:
    outside = path.parents[len(path.parts) - path.parts.index("toy")] / "outside"
    path.rename(outside)  # the same bytes, where whoever owns them may change them
    path.symlink_to(outside)


def a_link_to_nothing(path: Path, _: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def a_link_to_itself(path: Path, _: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_pipe(path: Path, _: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (cut, "has .* bytes, the manifest says"),
        (emptied, "has 0 bytes, the manifest says"),
        (swapped, "(has .* bytes|SHA-256 is .*), the manifest says"),
        (a_folder, "is not a file"),
        (a_link_outside, "is a link to .*outside, outside of the bundle"),
        (a_link_to_nothing, "is missing"),
        (a_link_to_itself, "is missing"),
        (a_pipe, "is not a file"),
    ],
)
def test_any_file_cut_swapped_or_replaced_is_refused_by_name(toy_dir, tmp_path, replaced, message):
    names = files(toy_dir)
    for place, name in enumerate(names):
        folder = shutil.copytree(toy_dir, tmp_path / str(place) / "toy" / "1")
        other = names[place - 1]
        replaced(folder / name, folder / other)
        named = f"({name}|{other})" if replaced is swapped else name
        with pytest.raises(BundleError, match=f"{named}: {message}"):
            Bundle.open(folder)


def test_a_file_that_the_manifest_does_not_list_is_never_looked_at(copy):
    for name in ("extra.npy", "catalogue/extra.npy", "crosses/extra.pkl"):
        (copy / name).write_bytes(b"\x80\x04 whatever")
        (copy / name).chmod(0)
    assert not [name for name in Bundle.open(copy).manifest.files if "extra" in name]


def test_a_file_changed_after_it_was_verified_is_refused(copy):
    bundle = Bundle.open(copy)
    path = copy / ONNX
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match=f"{ONNX}: changed after it was verified"):
        bundle.graph_file(ONNX)


def test_a_bundle_is_known_to_be_whole_only_if_the_manifest_lists_every_file(copy):
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    for name in set(listed) - set(GRAPHS):
        rewrite(copy, files={key: entry for key, entry in listed.items() if key != name})
        with pytest.raises(BundleError, match=f"does not list {name}"):
            Bundle.open(copy)


def test_a_model_without_a_wide_part_of_the_history_needs_no_crosses(copy):
    listed = json.loads((copy / "manifest.json").read_text())["files"]
    kept = {name: entry for name, entry in listed.items() if not name.startswith("crosses/")}
    rewrite(copy, files=kept, wide=None)
    shutil.rmtree(copy / "crosses")
    assert Bundle.open(copy).crosses is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format is 2"),
        ({"files": {"../secret": {"sha256": "", "bytes": 1}}}, "not a plain path"),
        ({"files": {"/etc/passwd": {"sha256": "", "bytes": 1}}}, "not a plain path"),
        ({"files": {"a\0b": {"sha256": "", "bytes": 1}}}, "not a plain path"),
        ({"files": []}, "manifest.json: "),
        ({"score": {"beta": 10**400, "mean": 7}}, "manifest.json: "),
        ({"files": {"a": {"sha256": "", "bytes": float("inf")}}}, "manifest.json: "),
        ({"score": {"beta": 0}}, "mean is missing"),
        ({"score": {"beta": float("nan"), "mean": 7}}, "not JSON"),
        ({"score": {"beta": 1e300, "mean": 7}}, "beta is 1e.300, should be .* float32"),
        ({"score": {"beta": 0, "mean": True}}, "mean is True, should be a number"),
        ({"metrics": {"rmse": float("inf")}}, "not JSON"),
        ({"files": {"a": {"sha256": "0" * 63, "bytes": 1}}}, "sha256 is '000.*64 hexadecimal"),
        ({"files": {"a": {"sha256": "0" * 64, "bytes": -1}}}, "bytes is -1, should be a size"),
        ({"files": {"a": {"sha256": "0" * 64, "bytes": 1.5}}}, "bytes is 1.5, should be a size"),
        ({"profile": [{"name": "age", "kind": "number"}] * 2}, "profile has a field twice"),
        ({"wide": {"taste": 0, "damping": 0, "genre_damping": 5, "genres": []}}, "above 0"),
        ({"profile": [{"name": "gender", "kind": "list"}]}, "kind of gender"),
        ({"graph": {"inputs": [], "outputs": [], "uses_history": True}}, "graph inputs are"),
        ({"version": 1}, "version is 1, should be text"),
        ({"wide": {"taste": 0, "damping": 5, "genres": []}}, "genre_damping is missing"),
        ({"wide": {"taste": 0, "damping": "x", "genre_damping": 5, "genres": []}}, "'x'"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_an_error(copy, changes, message):
    rewrite(copy, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy)


def test_a_manifest_larger_than_any_of_ours_is_not_read(copy):
    with (copy / "manifest.json").open("ab") as file:
        file.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(BundleError, match=r"manifest\.json: has more than"):
        Bundle.open(copy)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sig"])
def test_a_pipe_in_the_place_of_what_is_read_first_is_refused_at_once(copy, ours, name):
    signature.sign_bundle(copy, ours[0])
    a_pipe(copy / name, copy)
    with pytest.raises(BundleError, match=r"cannot be read \(is not a file\)"):
        Bundle.open(copy, trust=[ours[1]])


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(BundleError, match=r"manifest\.json: cannot be read"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("candidate", np.zeros((60, 9), np.int32), r"weight.npy: \[60, 60\], should be \[60, 9\]"),
        ("candidate", np.zeros((60, 60), np.int64), "should be a matrix of int32"),
        ("candidate", np.full((60, 60), 60, np.int32), "should be rows from 0 to 59"),
        ("candidate", np.full((60, 60), -1, np.int32), "should be rows from 0 to 59"),
        ("weight", np.zeros(60, np.float32), "should be a matrix of float32"),
        ("expected", np.zeros(59), r"\[59\], should be \[60\]"),
        ("genre", np.zeros((60, 3), np.bool_), r"\[60, 3\], should be \[60, 2\]"),
    ],
)
def test_crosses_that_do_not_fit_are_an_error_that_names_what_would(copy, name, array, message):
    np.save(copy / "crosses" / f"{name}.npy", array)
    with pytest.raises(BundleError, match=message):
        Bundle.open(copy, verify=False)


def test_who_trusts_a_key_reads_what_was_checked_whatever_becomes_of_the_store(copy, ours):
    signature.sign_bundle(copy, ours[0])
    bundle = Bundle.open(copy, trust=[ours[1]])
    assert bundle.folder.stat().st_mode & 0o777 == 0o700
    before, graph = bundle.histories.anime_id.tobytes(), bundle.graph_file(ONNX).read_bytes()
    for path in (*copy.rglob("*.npy"), copy / ONNX):
        with path.open("r+b") as file:  # in place, as who maps it would see
            file.seek(-8, os.SEEK_END)
            file.write(b"\xff" * 8)
    assert bundle.histories.anime_id.tobytes() == before
    assert bundle.graph_file(ONNX).read_bytes() == graph
    folder = bundle.folder
    del bundle
    assert not folder.exists()


def test_versions_are_ordered_as_people_number_them(copy):
    store = copy.parents[1]
    for version in ("2", "10", "1.5"):
        shutil.copytree(copy, copy.parent / version)
    assert Bundle.latest(store, "toy").folder.name == "10"
    assert Bundle.latest(store, "toy", "1.5").folder.name == "1.5"


def test_a_model_or_version_that_is_not_in_the_store_is_an_error(copy):
    store = copy.parents[1]
    with pytest.raises(BundleError, match="no version '3'; found 1"):
        Bundle.latest(store, "toy", "3")
    for name in ("other", "../store/toy", ""):
        with pytest.raises(BundleError, match="no model named"):
            Bundle.latest(store, name)


def archive(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def pickled(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array.astype(object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("written", [archive, pickled, lambda array: b"", lambda array: b"junk"])
def test_an_array_is_never_read_from_an_archive_or_a_pickle(copy, written):
    path = copy / "catalogue" / "anime_id.npy"
    path.write_bytes(written(np.load(path)))
    with pytest.raises(BundleError, match=r"anime_id\.npy: not a NumPy array"):
        Bundle.open(copy, verify=False)


CHANGES = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=3)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), changes=CHANGES, of_the_head=st.booleans())
def test_a_bundle_that_lies_opens_or_is_refused_but_never_anything_else(
    toy_dir, data, changes, of_the_head
):
    """One whose files are as its manifest says, and do not hold what they should."""
    names = [name for name in files(toy_dir) if name.endswith(".npy")]
    name = data.draw(st.sampled_from([*names, *["manifest.json"] * 5]))
    with tempfile.TemporaryDirectory() as folder:
        lying = shutil.copytree(toy_dir, Path(folder) / "toy" / "1")
        content = bytearray((lying / name).read_bytes())
        for place, byte in changes:  # a .npy begins with its type and shape, in 128 bytes
            content[place % (128 if of_the_head else len(content))] = byte
        (lying / name).write_bytes(content)
        with contextlib.suppress(BundleError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of a header as of old versions
            Bundle.open(lying, verify=False)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
) | st.sampled_from([10**400, "../x", "\ud800"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), value=VALUES)
def test_a_manifest_of_any_shape_is_read_or_refused(toy_dir, data, value):
    document = json.loads((toy_dir / "manifest.json").read_text())
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_text(json.dumps(document))
        with contextlib.suppress(BundleError):
            Manifest.read(path)
