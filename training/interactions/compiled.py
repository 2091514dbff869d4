"""Loops over numbers, compiled by Numba at their first call and kept for the next program."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Kernel], Kernel]:
    """Decorates a function of arrays and numbers, which then runs beside other threads."""

    def decorate(function: Kernel) -> Kernel:
        try:
            kernel: Kernel = njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # Numba finds no folder to keep the code in
            kernel = njit(nogil=True, **options)(function)
        return kernel

    return decorate
