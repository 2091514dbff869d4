"""How functions here are compiled: without the interpreter's lock, and kept between processes."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# Sums may be taken in another order, and products be fused with them, which is what makes loops of
# them fast; what is not finite stays what it is. The order is that of the compiled code, the same
# at each call.
SUMS = frozenset({"reassoc", "contract"})

log = logging.getLogger(__name__)


def compiled(function: Kernel) -> Kernel:
    """A function as machine code of this processor; its sums as above."""
    return _kept(function, SUMS)


def compiled_to_the_letter(function: Kernel) -> Kernel:
    """The same, each operation as it stands there: what has to agree with NumPy bit for bit."""
    return _kept(function, frozenset())


def _kept(function: Kernel, flags: frozenset[str]) -> Kernel:
    options: dict[str, Any] = {"nogil": True, "fastmath": set(flags), "boundscheck": False}
    try:
        kernel: Kernel = njit(cache=True, **options)(function)
    except RuntimeError:  # Numba finds no folder that it may write to
        _say_once()
        kernel = njit(**options)(function)
    return kernel


_said: list[bool] = []


def _say_once() -> None:
    if not _said:
        _said.append(True)
        log.warning(
            "compiled code cannot be kept (NUMBA_CACHE_DIR names a folder for it): each start "
            "compiles anew"
        )
