import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from anirank.client.sync import Client
from anirank.contract import ranking_pb2 as pb
from anirank.errors import SettingsError
from handlers.facade.settings import Settings
from handlers.facade.versions.copies import PREFIX, Copies
from tests.handlers.facade.versions.test_reload import look_at, nothing
from tests.handlers.facade.versions.watching import come, serves, soon, watch
from tests.running.program import run_serve


def cut_all(store):
    for path in store.rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            os.truncate(path, 0)


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_who_cuts_the_served_files_short_ends_nothing(store, world, options):
    with run_serve(store, *options) as (process, address, _):
        cut_all(store)
        with Client(address, timeout_s=60) as client:
            for user in range(0, 400, 10):
                client.recommend(user_id=user, explain=True)
        if options:  # a worker that starts anew takes the copy of the others
            workers = psutil.Process(process.pid).children()
            for worker in workers:
                worker.kill()
            psutil.wait_procs(workers, 60)
            request = pb.RankRequest(candidate_ids=[3])
            with Client(address, timeout_s=60) as client:
                soon(lambda: answers(client, request))


def answers(client, request):
    with contextlib.suppress(Exception):
        return len(client.answer(request).ranking) == 1
    return False


def test_what_is_served_from_the_store_itself_is_what_was_verified(store):
    settings = Settings(store=store, name="toy", map_store=True)
    assert look_at(store, lambda: come(store), settings=settings) == [["2"]]

    def damaged():
        path = come(store, "3") / "catalogue" / "adult.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"\2")

    assert look_at(store, damaged, settings=settings) == [["2"]]


def test_a_copy_is_gone_when_its_version_is_let_go(store, tmp_path):
    copies = tmp_path / f"{PREFIX}shared"

    def copied(*names):
        return lambda roster: {path.name.split("-")[0] for path in copies.iterdir()} == {*names}

    steps = [
        (nothing, copied("1", "turn")),
        (lambda: come(store), serves("2")),
        (nothing, copied("2", "turn")),
    ]
    watch(store, steps, copies=tmp_path)
    assert copies.stat().st_mode & 0o777 == 0o700
    assert not [*copies.iterdir()]


def test_what_a_killed_process_has_left_the_next_one_removes(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = (
        "import os, signal\n"
        "from handlers.facade.versions.copies import Copies\n"
        "copies = Copies()\n"
        "(copies.scratch() / 'file').write_text('left')\n"
        "print(copies.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [str(path) for path in tmp_path.glob(f"{PREFIX}*")] == [done.stdout.strip()]
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Copies() as first, Copies() as second:
        assert {*tmp_path.iterdir()} == {first.folder, second.folder}
        assert first.folder.stat().st_mode & 0o777 == 0o700
    assert not [*tmp_path.iterdir()]


def test_copies_are_made_in_no_folder_that_others_can_enter(tmp_path):
    (tmp_path / f"{PREFIX}shared").mkdir(mode=0o755)
    with pytest.raises(SettingsError, match="should be a folder of this user alone"):
        Copies(tmp_path)
    with pytest.raises(SettingsError, match=r"takes no copies of what is served .*; --copies"):
        Copies(Path("/dev/null/copies"))


def test_nothing_else_is_removed_from_a_folder_for_copies(tmp_path):
    tmp_path.chmod(0o700)
    (tmp_path / "mine").mkdir()
    with Copies(tmp_path) as copies, Copies(copies.folder) as same:
        assert copies.folder == same.folder
    assert {path.name for path in tmp_path.iterdir()} == {f"{PREFIX}shared", "mine"}
    assert not [*copies.folder.iterdir()]
