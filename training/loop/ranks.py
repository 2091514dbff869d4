"""The processes that train one model together, as torchrun starts them.

Each has the whole model and a share of the users. What is summed over them is summed by gloo where
it is on the CPU, and by NCCL where it is on a GPU.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from anirank.errors import AnirankError, RunError

# A rank that is silent for longer is lost. The others wait for the first while it alone fits the
# crosses, which is a minute at most for the whole dump.
TIMEOUT = timedelta(minutes=10)
# What errors of gloo, of NCCL and of the ranks' store have in common, where they have no class.
LOST = re.compile("gloo|nccl|tcpstore", re.IGNORECASE)
IN_SOURCE = re.compile(r"\[\S+\.\w+:\d+\] ")  # gloo says where in its sources it found it

Made = TypeVar("Made")


@dataclass(frozen=True)
class Ranks:
    """`rank`: the number of this process of `count`; `on_machine`: its number on its machine.

    All call the same methods in the same order.
    """

    rank: int = 0
    count: int = 1
    on_machine: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and prints."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Which of so many rows are this rank's; all ranks' are all rows, in order."""
        return slice(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)

    def sum(self, part: Tensor) -> Tensor:
        """The sum of all ranks' tensors, in place."""
        if self.count > 1:
            dist.all_reduce(part)
        return part

    def total(self, part: float) -> float:
        """The sum of all ranks' numbers."""
        return float(self.sum(torch.tensor(part, dtype=torch.float64)))

    def from_first(self, make: Callable[[], Made]) -> Made:
        """What the first rank makes, on all; the others wait for it."""
        if self.count == 1:
            return make()
        made = [make() if self.first else None]
        dist.broadcast_object_list(made)
        return cast(Made, made[0])

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, its gradients averaged over all ranks."""
        if self.count == 1:
            return network
        return DistributedDataParallel(network, gradient_as_bucket_view=True)


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun has started; without torchrun there is one.

    An error of any ends all: one of them raises RunError with what happened, the others SystemExit.
    To be entered by the main thread.
    """
    launched = dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1
    if not launched:
        yield ALONE
        return
    store, rank, count = next(rendezvous("env://", timeout=TIMEOUT))
    ranks = Ranks(rank, count, int(os.environ["LOCAL_RANK"]))
    # torchrun keeps the store when it starts all ranks again; where they were before is in it.
    store = PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    with _told_once(ranks, store):
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=store,
            rank=rank,
            world_size=count,
            timeout=TIMEOUT,
        )
        yield ranks
        dist.destroy_process_group()


@contextmanager
def _told_once(ranks: Ranks, store: Store) -> Iterator[None]:
    """Turns an error into one line of one rank: the first to have one, before it is missed."""
    try:
        yield
    except (AnirankError, RuntimeError) as error:
        reason = str(error)
        if not isinstance(error, AnirankError):
            if not LOST.search(reason):
                raise
            found = IN_SOURCE.sub("", reason).partition("\n")[0].partition(". ")[0]
            reason = f"lost the other ranks, --resume goes on from the last epoch: {found}"
        # torchrun ends those that are left; this one ends by itself, once it has said why.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        told = 0
        with suppress(RuntimeError):  # the store ends with the torchrun that holds it
            told = store.add("told", 1) - 1
        if told:
            raise SystemExit(AnirankError.exit_code) from None
        raise RunError(f"rank {ranks.rank} of {ranks.count}: {reason}") from error
