import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("home", ["/dev/shm", None])
def test_a_file_is_copied_whole_within_a_file_system_and_to_another(tmp_path, home):
    if home is not None and not Path(home).is_dir():
        pytest.skip(f"no {home} here")
    content = bytes(range(256)) * 10_000
    (tmp_path / "source").write_bytes(content)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        with files.open_regular(tmp_path / "source") as source:
            files.copy(source, Path(folder) / "target")
        assert (Path(folder) / "target").read_bytes() == content


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="is not a file"):
            files.open_regular(path)
