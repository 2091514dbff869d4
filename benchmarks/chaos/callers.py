"""Callers that look at every reply."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from anirank.client.sync import Client
from anirank.errors import BackendUnavailable, DeadlinePassed, Overloaded, ServingError
from benchmarks.chaos.answers import Answers

TIMEOUT_S = 2.0  # of a call
SLACK_S = 1.0  # after it, in which a call has ended, whatever became of it
CONNECTED_S = 10.0  # until a caller takes a new connection
PAUSE_S = 0.01  # between two calls of a caller
PROMISED = {BackendUnavailable, DeadlinePassed, Overloaded}


@dataclass
class Heard:
    """What callers heard: right answers, refusals by kind, and what should not be.

    latest: the newest version that answered, by number.
    """

    answered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    latest: int = 0

    @property
    def sent(self) -> int:
        """All calls."""
        return self.answered + sum(self.refused.values()) + len(self.wrong) + len(self.lost)


class Callers:
    """Threads that ask without an end.

    with Callers(address, answers, 4, seed) as callers:
        ...
    callers.heard.wrong
    """

    def __init__(self, address: str, answers: Answers, count: int, seed: int) -> None:
        """Ask with `answers`' messages, in an order drawn from the seed."""
        self.heard = Heard()
        self._address, self._answers = address, answers
        self._ended, self._mutex = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._call, args=(random.Random(seed + at),), daemon=True)
            for at in range(count)
        ]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 2 * SLACK_S)
            if thread.is_alive():
                self.heard.lost.append("a call never ended")

    def _call(self, draw: random.Random) -> None:
        while not self._ended.is_set():
            with Client(self._address, TIMEOUT_S, retries=0) as client:
                until = time.monotonic() + CONNECTED_S
                while time.monotonic() < until and not self._ended.wait(PAUSE_S):
                    self._ask(client, draw.randrange(len(self._answers.messages)))

    def _ask(self, client: Client, place: int) -> None:
        began = time.monotonic()
        try:
            reply = client.answer(self._answers.messages[place])
        except ServingError as error:
            with self._mutex:
                if type(error) in PROMISED:
                    self.heard.refused[type(error).__name__] += 1
                else:
                    self.heard.lost.append(f"{type(error).__name__}: {error}")
        else:
            fault = self._answers.fault(place, reply)
            with self._mutex:
                if fault:
                    self.heard.wrong.append(fault)
                else:
                    self.heard.answered += 1
                    self.heard.latest = max(self.heard.latest, int(reply.model_version))
        if (took := time.monotonic() - began) > TIMEOUT_S + SLACK_S:
            with self._mutex:
                self.heard.lost.append(f"a call ended after {took:.1f} s")
