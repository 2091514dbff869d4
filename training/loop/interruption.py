"""A training that ends at a signal, at a place from which it can go on."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# torchrun hands a Ctrl-C on to processes that the terminal has sent it to already.
SAME_S = 1.0


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the next one acts as ever."""
    interrupted, begun = threading.Event(), 0.0
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal begun
        if not interrupted.is_set():
            begun = time.monotonic()
            interrupted.set()
        elif time.monotonic() - begun > SAME_S:
            signal.signal(number, previous[number])
            signal.raise_signal(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {int(number): signal.signal(number, interrupt) for number in numbers}
    try:
        yield interrupted
    finally:
        for number in numbers:
            signal.signal(number, previous[number])
