"""New versions in the store: verified and warmed up beside the old, then switched to."""

import asyncio
import logging
import signal
from dataclasses import dataclass
from types import TracebackType

from anirank.errors import AnirankError, BackendUnavailable
from handlers.facade.versions.faults import passing
from handlers.facade.versions.loader import Loader, Stamps
from handlers.facade.versions.roster import Roster, ServedVersion
from handlers.facade.versions.turn import turn

CHECK_S = 1.0  # between two checks of the store
TURN_S = 60.0  # how long to wait for a turn to load; loading takes a core
# Before what may pass by itself is tried again; each is twice the one before.
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 60.0

log = logging.getLogger(__name__)


@dataclass
class _Pause:
    """When something is tried again, in seconds of the loop's clock, and the pause before that."""

    until: float = 0.0
    length_s: float = FIRST_PAUSE_S / 2

    def lengthen(self, now: float) -> None:
        self.length_s = min(2 * self.length_s, LAST_PAUSE_S)
        self.until = now + self.length_s


class Reloader:
    """Keeps a roster at what the settings ask for, whatever comes into the store or leaves it.

    with Reloader(loader, CHECK_S) as reloader:
        await reloader.follow(roster)

    A version that cannot serve is refused in one line of the log, and not tried again until a file
    of it changes; where the fault is one that passes, such as a full disk, it is tried again, with
    growing pauses. What was served before serves on. The old versions end what they have begun.
    Where the store itself cannot be followed, the roster says so (`Roster.followed`).
    """

    def __init__(self, loader: Loader, every_s: float | None) -> None:
        """Check every `every_s` seconds (None: never), and at each SIGHUP while entered."""
        self._loader = loader
        self._every_s = every_s
        self._asked = asyncio.Event()
        self._stamps: dict[str, Stamps] = {}  # at the last check
        self._refused: dict[str, Stamps] = {}
        self._pauses: dict[str, _Pause] = {}  # by version; of the store, by an empty name
        self._complaints: dict[str, str] = {}  # the last of each, likewise
        self._loading = ""
        self._closing: dict[asyncio.Task[None], ServedVersion] = {}

    def __enter__(self) -> "Reloader":
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    async def follow(self, roster: Roster) -> None:
        """Check again and again, until cancelled; whatever a check meets, others follow."""
        while True:
            try:
                await asyncio.wait_for(self._asked.wait(), self._wait_s())
            except TimeoutError:
                await self.check(roster, patient=True)
            else:
                self._asked.clear()
                self._complaints.clear()
                if not await self.check(roster, patient=False):
                    log.info("SIGHUP: nothing to change; %s serves on", _named(roster))

    async def check(self, roster: Roster, patient: bool) -> bool:
        """Serve what the store holds now; whether that is something else than before.

        patient: leave a version whose files have changed since the last check for the next one, and
        one whose pause has not passed for a later one.
        """
        try:
            changed = await self._check(roster, patient)
        except Exception as error:  # whatever it is, what is served serves on
            said = error if isinstance(error, AnirankError) else f"{type(error).__name__} {error}"
            self._complain("", f"{_named(roster)} serves on: {said}")
            self._pauses.setdefault("", _Pause()).lengthen(_now())
            roster.followed = False
            return False
        self._pauses.pop("", None)
        self._complaints.pop("", None)
        roster.followed = True
        return changed

    async def close(self, patience_s: float | None = None) -> None:
        """Wait until the versions that were switched from have ended.

        patience_s: for so long at most, then let go of them as they are; None waits for them.
        """
        while self._closing:
            done, left = await asyncio.wait(self._closing, timeout=patience_s)
            for task in left if not done else ():
                version = self._closing.pop(task)
                task.cancel()
                await version.close(patience_s=0)

    async def _check(self, roster: Roster, patient: bool) -> bool:
        available = await self._loader.look(self._loader.available)
        for gone in self._stamps.keys() - set(available):
            for known in (self._stamps, self._refused, self._pauses, self._complaints):
                known.pop(gone, None)
        served = {version.name: version for version in roster.versions}
        while available:
            weights = self._loader.weights(available)
            new = [name for name in weights if name not in served]
            if not new:
                return self._switch(roster, served, weights)
            loaded = await self._load(new[0], roster, patient)
            if loaded is None:
                available = [name for name in available if name != new[0]]
            else:
                served[loaded.name] = loaded
        return False

    async def _load(self, name: str, roster: Roster, patient: bool) -> ServedVersion | None:
        """The version, or None where it is refused, or still being written, or tried later."""
        stamps = await self._loader.look(lambda: self._loader.stamps(name))
        changing, self._stamps[name] = self._stamps.get(name) != stamps, stamps
        pause = self._pauses.get(name)
        if self._refused.get(name) == stamps or (
            patient and (changing or (pause is not None and pause.until > _now()))
        ):
            return None
        self._loading = name
        try:
            await self._loader.probe(name)
            async with turn(self._loader.folder, TURN_S):
                loaded = await self._loader.load(name)
        except BackendUnavailable as error:  # it may come without a change in the store
            self._complain(name, f"version {name} is refused, {_named(roster)} serves on: {error}")
            return None
        except Exception as error:  # whatever is wrong with it, the old one serves on
            said = f"version {name} is refused, {_named(roster)} serves on: {error}"
            if passing(error) is not None:
                pause = self._pauses.setdefault(name, _Pause())
                pause.lengthen(_now())
                said += "; tried again later"
            else:
                self._refused[name] = stamps
            self._complain(name, said)
            return None
        finally:
            self._loading = ""
        for known in (self._pauses, self._complaints):
            known.pop(name, None)
        return loaded

    def _switch(
        self, roster: Roster, served: dict[str, ServedVersion], weights: dict[str, float]
    ) -> bool:
        before = roster.versions
        if weights == roster.weights:
            return False
        roster.switch([served[name] for name in weights], list(weights.values()))
        gone = [version for version in before if version not in roster.versions]
        for version in gone:
            task = asyncio.get_running_loop().create_task(self._close(version, roster))
            self._closing[task] = version
            task.add_done_callback(lambda task: self._closing.pop(task, None))
        log.info("version %s serves from now on", _named(roster))
        return True

    async def _close(self, version: ServedVersion, roster: Roster) -> None:
        try:
            await version.close()
        except Exception as error:  # it has answered all; the rest is not worth an end
            log.error("version %s: %s", version.name, error)
        else:
            log.info("version %s has answered all it was asked", version.name)
        if version.name not in (self._loading, *(each.name for each in roster.versions)):
            self._loader.let_go(version)

    def _wait_s(self) -> float | None:
        """Until the next check; without any that is regular, until a pause has passed."""
        store = self._pauses.get("")
        if self._every_s is not None:
            return self._every_s if store is None else max(self._every_s, store.until - _now())
        pauses = [pause.until - _now() for pause in self._pauses.values()]
        return max(min(pauses), 0.0) if pauses else None

    def _complain(self, of: str, line: str) -> None:
        """Log what is wrong with a version, or the store, once while it stays so."""
        if line != self._complaints.get(of):
            log.error("%s", line)
        self._complaints[of] = line


def _now() -> float:
    return asyncio.get_running_loop().time()


def _named(roster: Roster) -> str:
    return ", ".join(version.name for version in roster.versions)
