"""How functions here are compiled, and kept between processes."""

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import config, njit
from numba.core.caching import UserWideCacheLocator

from bundles import tables
from handlers.engine import query

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# Sums may be taken in another order, and products be fused with them, which is what makes loops of
# them fast; what is not finite stays what it is. The order is that of the compiled code, the same
# at each call.
SUMS = frozenset({"reassoc", "contract"})

log = logging.getLogger(__name__)


def compiled(function: Kernel) -> Kernel:
    """A function as machine code of this processor; its sums as above.

    Called from Python it leaves the interpreter's lock to others, for as long as it takes.
    """
    return _kept(function, SUMS, nogil=True)


def compiled_to_the_letter(function: Kernel) -> Kernel:
    """The same, each operation as it stands there: what has to agree with NumPy bit for bit.

    It keeps the interpreter's lock, as what takes microseconds should: who lets go of it may wait
    for milliseconds until another thread of Python lets go in turn.
    """
    return _kept(function, frozenset(), nogil=False)


class Locator(UserWideCacheLocator):  # type: ignore[misc]  # Numba ships no types
    """Finds kept code by what its sources say, wherever they stand.

    Numba's own finds it by their path, which in a TorchServe is another at each start, and looks at
    the file of a function alone, not at those of what it calls.
    """

    def get_cache_path(self) -> str:
        """The folder of code made of these sources."""
        root = Path(config.CACHE_DIR or Path(super().get_cache_path()).parent)
        return str(root / f"anirank-{_sources()}")


@cache
def _sources() -> str:
    """Of everything that compiled code is made of: functions, layouts and constants."""
    digest = hashlib.sha256()
    of_others = (Path(str(module.__file__)) for module in (tables, query))
    for path in (*sorted(Path(__file__).parent.glob("*.py")), *of_others):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _kept(function: Kernel, flags: frozenset[str], nogil: bool) -> Kernel:
    options: dict[str, Any] = {"nogil": nogil, "fastmath": set(flags)}
    others = config.CACHE_LOCATOR_CLASSES
    config.CACHE_LOCATOR_CLASSES = f"{__name__}.{Locator.__name__}"
    try:
        kernel: Kernel = njit(cache=True, **options)(function)
    except RuntimeError:  # Numba finds no folder that it may write to
        _say_once()
        kernel = njit(**options)(function)
    finally:
        config.CACHE_LOCATOR_CLASSES = others
    return kernel


@cache
def _say_once() -> None:
    log.warning(
        "compiled code cannot be kept (NUMBA_CACHE_DIR names a folder for it): each start compiles "
        "it anew"
    )
