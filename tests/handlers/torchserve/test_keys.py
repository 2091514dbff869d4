import contextlib
import http.server
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from anirank.errors import BackendUnavailable
from handlers.torchserve.keys import KeyFile


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


class Management(http.server.HTTPServer):
    """Takes the place of a TorchServe's management API, with a key file of its own choice."""

    def __init__(self, writes, elsewhere):
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked: list[tuple[str, str]] = []
        self.writes, self.elsewhere = writes, elsewhere
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Management

    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Authorization"]))
        if self.server.elsewhere is not None:
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere)
        else:
            self.send_response(200)
            if self.server.writes is not None:
                write(self.server.writes, f"secret-{len(self.server.asked)}")
        self.end_headers()

    def log_message(self, *_):
        pass


def write(path, key):
    entries = {"inference": {"key": key}, "API": {"key": "secret-api"}}
    path.write_text(json.dumps(entries))


@pytest.fixture
def management(tmp_path):
    """Starts one: management(writes, elsewhere), the file it writes, where it sends callers on."""
    with contextlib.ExitStack() as stack:

        def start(writes=None, elsewhere=None):
            server = Management(writes, elsewhere)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.05,)).start()
            return server

        yield start


def test_a_refused_key_is_replaced_by_asking_once_however_many_were_refused(tmp_path, management):
    path = tmp_path / "key_file.json"
    write(path, "secret-0")
    server = management(writes=path)
    keys = KeyFile(path, server.url)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: keys.replace("inference", "secret-0"), range(8)))
    assert keys.key("inference") == "secret-1"
    assert server.asked == [("/token?type=inference", "Bearer secret-api")]


def test_one_that_writes_another_file_is_asked_but_once(tmp_path, management):
    path = tmp_path / "key_file.json"
    write(path, "secret-0")
    server = management()
    keys = KeyFile(path, server.url)
    with pytest.raises(BackendUnavailable, match="holds the old inference key after http"):
        keys.replace("inference", "secret-0")
    with pytest.raises(BackendUnavailable, match="its inference key is refused"):
        keys.replace("inference", "secret-0")
    write(path, "secret-2")
    keys.replace("inference", "secret-0")
    assert keys.key("inference") == "secret-2"
    assert len(server.asked) == 1


def test_no_key_goes_where_the_management_api_sends_on_to(tmp_path, management):
    path = tmp_path / "key_file.json"
    write(path, "secret-0")
    other = management()
    keys = KeyFile(path, management(elsewhere=f"{other.url}/").url)
    with pytest.raises(BackendUnavailable, match="302") as caught:
        keys.replace("inference", "secret-0")
    assert "secret" not in str(caught.value)
    assert not other.asked


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "http://127.0.0.1:1", "nonsense"])
def test_a_management_api_that_is_not_there_is_an_error_that_names_it(tmp_path, url):
    path = tmp_path / "key_file.json"
    write(path, "secret-0")
    with pytest.raises(BackendUnavailable, match=f"^{url}/token.type=inference: ") as caught:
        KeyFile(path, url).replace("inference", "secret-0")
    assert "secret" not in str(caught.value)


def test_when_a_key_ends_is_read_from_the_file(tmp_path):
    path = tmp_path / "key_file.json"
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+00:00", "123Z")
    path.write_text(json.dumps({"inference": {"key": "k", "expiration time": end}, "API": {}}))
    assert 3_500 < KeyFile(path).seconds_left("inference") <= 3_600
    with pytest.raises(BackendUnavailable, match="does not say when its management key ends"):
        KeyFile(path).seconds_left("management")


def test_a_file_half_written_leaves_the_keys_read_before(tmp_path):
    path = tmp_path / "key_file.json"
    write(path, "secret-0")
    keys = KeyFile(path)
    assert keys.key("inference") == "secret-0"
    path.write_text('{"inference": {"ke')
    assert keys.key("inference") == "secret-0"
    path.unlink()
    assert keys.key("inference") == "secret-0"
