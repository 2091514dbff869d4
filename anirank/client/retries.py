"""When a call that was refused is worth another try."""

import random
import time
from dataclasses import dataclass

from anirank.errors import Overloaded, ServingError

JITTER = 0.5  # of a hint: who was refused together does not come back together


@dataclass
class Tries:
    """The tries of one call, of which the last ends by its deadline.

    What a server refused with a hint (google.rpc.RetryInfo) it has not begun, so it may be asked
    again whatever the call does. Nothing else is tried again: of a connection that was lost nobody
    knows what was done, and gRPC itself asks again for what never left.
    """

    retries: int
    until: float

    @classmethod
    def within(cls, timeout_s: float, retries: int) -> "Tries":
        """So many more than the first, all in `timeout_s` seconds from now."""
        return cls(retries, time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return max(self.until - time.monotonic(), 0.0)

    def pause_s(self, failure: ServingError) -> float | None:
        """Seconds to wait before the next try: the hint's and some more; None where there is none.

        There is none without a hint, after the last, or where the wait would outlast the deadline.
        """
        if not isinstance(failure, Overloaded) or not self.retries:
            return None
        self.retries -= 1
        pause = failure.retry_after_s * (1 + JITTER * random.random())
        return pause if pause < self.left_s() else None
