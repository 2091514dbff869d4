"""What befalls a façade: its store, its workers, its port; which and when is drawn from a seed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.chaos.answers import BETAS
from benchmarks.chaos.attacks import ATTACKS
from benchmarks.serving.copies import MANIFEST, Copies
from benchmarks.systems.processes import ROOT, relatives

ATTACK_S = 5.0
STOPPED_S = 10.0  # that a halted worker stays so
KEPT = 3  # versions that stay in the store

Manifest = dict[str, Any]


class Versions:
    """A store in which good versions and bad ones appear."""

    def __init__(self, copies: Copies) -> None:
        """Publish in the store of `copies`; its first version is there already."""
        self.latest = int(copies.version)  # of the good ones
        self._copies = copies
        self._bad: list[Path] = []

    def good(self) -> None:
        """A version that can serve, with a β of its own; what was bad goes."""
        for folder in self._bad:
            shutil.rmtree(folder, ignore_errors=True)
        self._bad.clear()
        self._copies.publish()
        self.latest = self._copies.version
        self._copies.withdraw(str(self.latest - KEPT))

    def bad(self, change: Callable[[Path], None]) -> None:
        """A version that cannot serve, for what `change` makes of its folder."""
        self._copies.version += 1
        folder = self._copies.store / f".bad-{self._copies.version}"
        shutil.copytree(self._newest(), folder)
        change(folder)
        target = self._newest().with_name(str(self._copies.version))
        self._bad.append(folder.rename(target))

    def vanish(self) -> None:
        """A version that is taken away as soon as it is there."""
        self.bad(lambda folder: None)
        shutil.rmtree(self._bad.pop(), ignore_errors=True)

    def strange(self) -> None:
        """A folder whose name is a digit to some, and no number."""
        self._newest().with_name("²").mkdir(exist_ok=True)

    def cut_short(self) -> None:
        """Files of the version that is served lose their ends; a good version follows."""
        for name in ("tables/anime.npy", "tables/crossed.npy", "histories/anime_id.npy"):
            path = self._newest() / name
            if path.exists():
                os.truncate(path, 4_096)
        time.sleep(1)  # in which requests meet what is left
        self.good()

    def _newest(self) -> Path:
        return self._copies.store / self._copies.name / str(self.latest)


def beta_of(manifest: Manifest) -> None:
    """Give a manifest the β of its version."""
    manifest["score"]["beta"] = BETAS[int(manifest["version"]) % len(BETAS)]


def _with_beta(beta: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest["version"] = folder.name.rpartition("-")[2]
        manifest["score"]["beta"] = beta
        (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")

    return change


def _nested(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"a":' * 200_000, encoding="utf-8")


def _pipe(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)


def _twice(folder: Path) -> None:
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    (folder / MANIFEST).write_text(
        '{"score": {"beta": 0.5, "mean": 7}, ' + text.lstrip()[1:], encoding="utf-8"
    )


def _unlike(folder: Path) -> None:
    with (folder / "catalogue" / "title.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"other")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


# Versions that cannot serve, by what is wrong with them.
BAD = {
    "β is NaN": _with_beta(float("nan")),
    "β is 1e300": _with_beta(1e300),
    "nested manifest": _nested,
    "manifest is a pipe": _pipe,
    "manifest says β twice": _twice,
    "a file is unlike its hash": _unlike,
    "empty version": _empty,
}


class Troubles:
    """All that can befall the façade of a process id; `next` does one, and says which."""

    def __init__(self, pid: int, address: str, versions: Versions, seed: int) -> None:
        """Draw from the seed."""
        self.pid, self.address, self.versions = pid, address, versions
        self._draw = random.Random(seed)
        self._running: list[subprocess.Popen[bytes]] = []
        self._halted: list[tuple[float, psutil.Process]] = []
        self.kinds: dict[str, Callable[[], None]] = {
            "new version": versions.good,
            "version taken away": versions.vanish,
            "folder named ²": versions.strange,
            "served files cut short": versions.cut_short,
            "worker killed": self._kill,
            "worker halted": self._halt,
        }
        self.kinds |= {name: lambda c=change: versions.bad(c) for name, change in BAD.items()}  # type: ignore[misc]  # mypy takes no default of a lambda
        self.kinds |= {name: lambda n=name: self._attack(n) for name in ATTACKS}  # type: ignore[misc]  # as above
        self._coming: list[str] = []

    def next(self) -> str:
        """Do what comes next: each kind once, in an order drawn anew each time round."""
        if not self._coming:
            self._coming = self._draw.sample(list(self.kinds), len(self.kinds))
        name = self._coming.pop()
        self.kinds[name]()
        return name

    def end(self) -> None:
        """Let halted workers go on, end the attackers, and leave a version that can serve."""
        self.wake(0.0)
        for attacker in self._running:
            with suppress(subprocess.TimeoutExpired):
                attacker.wait(2 * ATTACK_S)
            attacker.kill()
            attacker.wait()
        self.versions.good()

    def wake(self, after_s: float = STOPPED_S) -> None:
        """Let workers go on that have been halted for so long, if nobody has ended them."""
        for began, worker in list(self._halted):
            if time.monotonic() - began >= after_s:
                self._halted.remove((began, worker))
                with suppress(psutil.NoSuchProcess):
                    worker.send_signal(signal.SIGCONT)

    def _workers(self) -> list[psutil.Process]:
        return [each for each in relatives([self.pid]) if each.pid != self.pid]

    def _kill(self) -> None:
        if workers := self._workers():
            with suppress(psutil.NoSuchProcess):
                self._draw.choice(workers).kill()

    def _halt(self) -> None:
        if workers := self._workers():
            with suppress(psutil.NoSuchProcess):
                worker = self._draw.choice(workers)
                worker.send_signal(signal.SIGSTOP)
                self._halted.append((time.monotonic(), worker))

    def _attack(self, name: str) -> None:
        command = (sys.executable, "-m", "benchmarks.chaos.attacks", name, self.address)
        self._running.append(
            subprocess.Popen(
                [*command, f"{ATTACK_S:g}"],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
