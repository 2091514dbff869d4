import contextlib
import hashlib

from bundles import files


def test_the_sha256_is_that_of_the_content(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content" * 100_000)
    assert files.digest(path) == hashlib.sha256(path.read_bytes()).digest()
    assert files.sha256(path) == files.digest(path).hex()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "before")
    with contextlib.suppress(RuntimeError), files.whole(path) as scratch:
        scratch.write_text("half of wha")
        assert path.read_text() == "before"
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    files.write_json(path, {"é": 1})
    assert path.read_text("utf-8") == '{\n  "é": 1\n}'
    assert list(tmp_path.iterdir()) == [path]


def test_a_stamp_changes_whenever_the_file_does(tmp_path):
    path = tmp_path / "file"
    assert files.stamp_of(path) is None
    files.write_text(path, "one")
    first = files.stamp_of(path)
    files.write_text(path, "two")
    assert files.stamp_of(path) not in (None, first)
