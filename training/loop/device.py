"""The device a training runs on."""

import torch

from anirank.errors import PresetError
from training.loop.ranks import ALONE, Ranks


def choose(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device `name`; `auto` is the first GPU, or the CPU where there is none.

    Of several ranks on a machine, each takes a GPU of its own. Raises PresetError where this
    machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and ranks.count > 1:
        name = f"cuda:{ranks.on_machine}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise PresetError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N") from None
    found = torch.cuda.device_count()
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= (found or 1):
        raise PresetError(f"device {name!r}: this machine has the CPU and {found} GPUs")
    if device.type == "cuda" and not found:
        raise PresetError(f"device {name!r}: this machine has no GPU that torch can use")
    return device
