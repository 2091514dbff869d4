import json
import os

import pytest

from handlers.errors import BackendUnavailable
from handlers.keys import KeyFile


def test_the_keys_are_read_again_when_torchserve_writes_new_ones(tmp_path):
    path = tmp_path / "key_file.json"
    keys = KeyFile(path)
    with pytest.raises(BackendUnavailable, match=r"key_file\.json: cannot be read"):
        keys.key("inference")
    for time, key in enumerate(("first", "second"), start=1):
        path.write_text(json.dumps({"inference": {"key": key}, "API": {"key": "other"}}))
        os.utime(path, ns=(time, time))
        assert keys.key("inference") == key
    with pytest.raises(BackendUnavailable, match="holds no management key"):
        keys.key("management")


@pytest.mark.parametrize("content", ["", "[]", "[1]", '{"inference": 1}', "{}"])
def test_a_key_file_that_is_half_written_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "key_file.json"
    path.write_text(content)
    with pytest.raises(BackendUnavailable, match=r"key_file\.json: holds no inference key"):
        KeyFile(path).key("inference")
