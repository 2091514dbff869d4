"""The device a training runs on."""

import torch

from anirank.errors import PresetError


def choose(name: str) -> torch.device:
    """The device `name`; `auto` is the first GPU, or the CPU where there is none.

    Raises PresetError where this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
