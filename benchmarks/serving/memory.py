"""What processes weigh in memory, by what they are, and whether they gain."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import psutil

from benchmarks.systems.processes import command_line, memory_mib, relatives

FACADE, WORKER, JAVA = "façade", "TorchServe's worker", "TorchServe's Java"
_IN_COMMAND = {WORKER: "model_service_worker", JAVA: "java"}


@dataclass(frozen=True)
class Weight:
    """Resident memory at a time on the monotonic clock, by kind of process; and how many ran."""

    at: float
    mib: dict[str, float]
    processes: int

    @property
    def total(self) -> float:
        """MiB, of all processes; what they share counts for each."""
        return sum(self.mib.values())


def weighed(pid: int) -> Weight:
    """What a façade and all that it has started weigh now."""
    processes = relatives([pid])
    mib: dict[str, float] = {}
    for each in processes:
        kind = kind_of(each)
        mib[kind] = mib.get(kind, 0.0) + memory_mib(each)
    return Weight(time.monotonic(), mib, len(processes))


def kind_of(process: psutil.Process) -> str:
    """FACADE, WORKER or JAVA."""
    command = command_line(process)
    return next((kind for kind, word in _IN_COMMAND.items() if word in command), FACADE)


def growth(weights: Sequence[Weight]) -> float:
    """How much the total grew from the first to the last, as a share of its median.

    By Theil and Sen's slope, which what lasts a moment does not bend, over the samples with as many
    processes as there mostly were: a killed one is missing, not saved.
    """
    counts = Counter(each.processes for each in weights)
    usual = [each for each in weights if each.processes == counts.most_common(1)[0][0]]
    if len(usual) < 4:
        return 0.0
    at = np.array([each.at for each in usual])
    mib = np.array([each.total for each in usual])
    first, second = np.triu_indices(len(at), 1)
    slope = float(np.median((mib[second] - mib[first]) / (at[second] - at[first])))
    return slope * float(at[-1] - at[0]) / float(np.median(mib))


def own_mb(pids: Iterable[int]) -> tuple[float, float]:
    """Megabytes that are private to a process and not of a file: of the largest, and of all.

    Of these processes and all that they have started. What is mapped from files is in memory once
    for all who map it, and goes when memory is short.
    """
    found = [_own_mb(each) for each in relatives(pids)]
    return max(found, default=0.0), sum(found)


def _own_mb(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        maps = process.memory_maps(grouped=False)
        return sum(min(m.anonymous, m.private_clean + m.private_dirty) for m in maps) / 1e6
    return 0.0
