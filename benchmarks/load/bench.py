"""`anirank bench`: the latency of a façade that runs, as its callers meet it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from anirank.client.sync import Client
from anirank.client.tokens import bearer
from benchmarks import machine
from benchmarks.load.clients import Clients
from benchmarks.load.loops import Outcome, Plan
from benchmarks.load.requests import RANK, Checked, Proto
from benchmarks.load.transports import GrpcCaller, Tls
from benchmarks.load.workload import Workload

USERS = 1_000_000  # ids that the requests are spread over; those that are not known are new users
NO_TLS = Tls()
PERCENTILES = (50, 90, 99, 99.9)


@dataclass(frozen=True)
class Bench:
    """What was measured: of which model, with what plan, and what came of it."""

    model: str
    backend: str
    plan: Plan
    outcome: Outcome

    @property
    def way(self) -> str:
        """How it was asked."""
        rate = self.plan.rate
        return f"{self.plan.in_flight} in flight" if rate is None else f"{rate:,.0f}/s asked for"

    def table(self) -> Table:
        """The figures for a terminal."""
        outcome, plan = self.outcome, self.plan
        table = Table(title=f"{self.model} ({self.backend}), {self.way}", title_justify="left")
        table.add_column("")
        table.add_column("figure", justify="right")
        if plan.rate is not None:
            table.add_row("arrived a second", f"{outcome.asked_rate:,.0f}")
        table.add_row("answered a second", f"{outcome.rate:,.0f}")
        for percentile in PERCENTILES:
            table.add_row(f"p{percentile:g}, ms", f"{outcome.latencies.ms(percentile):.2f}")
        failed = ", ".join(f"{code} {count}" for code, count in outcome.failed.items())
        table.add_row("failed", failed or "0")
        table.add_row("unfinished", str(outcome.unfinished))
        table.add_row("sent late", str(outcome.late))
        table.add_row("client, µs of a core a call", f"{cpu_us(outcome):.0f}")
        return table

    def remarks(self) -> list[str]:
        """What a reader of the figures should know."""
        said = []
        if self.outcome.overwhelmed:
            said.append("stopped early: a second's worth of requests waited; ask for less")
        if self.outcome.late > self.outcome.sent / 100:
            said.append("the client was late with its requests; leave it more of a core")
        if self.outcome.why:
            said.append(f"the first fault: {self.outcome.why}")
        if self.outcome.wrong:
            said.append(f"{self.outcome.wrong} of {self.outcome.checked} replies read were wrong")
        return said

    def to_json(self) -> str:
        """Figures, histogram and machine."""
        content = {"machine": machine.describe(), "model": self.model, "backend": self.backend}
        return json.dumps(content | {"run": as_document(self.outcome, self.plan)}, indent=1)


def measure(
    address: str, workload: Workload, plan: Plan, tls: Tls = NO_TLS, token: str | None = None
) -> Bench:
    """Load the façade at HOST:PORT; raises ServingError where it does not answer."""
    with Client(address, token=token, **vars(tls)) as client:
        info = client.model_info()
        whole = client.recommend(
            top_k=info.catalogue_size, include_seen=True, include_adult=True
        ).ranking
    asks = workload.asks(range(1, USERS + 1), np.array([entry.anime_id for entry in whole]))
    form = Proto()
    check = Checked(form, [ask.candidate_ids for ask in asks], workload.top_k)
    caller = GrpcCaller(address, RANK, () if token is None else bearer(token), tls=tls)
    with Clients(caller, [form.write(ask) for ask in asks], check) as clients:
        outcome = clients.run(plan)
    return Bench(f"{info.name} {info.version}", info.backend, plan, outcome)


def cpu_us(outcome: Outcome) -> float:
    """What one call costs the client, in microseconds of a core."""
    return outcome.cpu_s / outcome.all_calls * 1e6 if outcome.all_calls else 0.0


def as_document(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """A run as JSON: latencies in milliseconds, and the whole histogram."""
    return {
        "in_flight": plan.in_flight,
        "rate_asked": plan.rate,
        "rate_arrived": outcome.asked_rate if plan.rate is not None else None,
        "rate_answered": outcome.rate,
        "seconds": outcome.seconds,
        "ms": {f"p{each:g}": outcome.latencies.ms(each) for each in PERCENTILES},
        "answered": outcome.answered,
        "failed": dict(outcome.failed),
        "unfinished": outcome.unfinished,
        "late": outcome.late,
        "overwhelmed": outcome.overwhelmed,
        "checked": outcome.checked,
        "wrong": outcome.wrong,
        "why": outcome.why,
        "client_cpu_us": cpu_us(outcome),
        "histogram": outcome.latencies.encode(),
    }


def plot(bench: Bench, file: Path) -> None:
    """Latency by percentile."""
    from benchmarks.plots import by_percentile

    by_percentile({bench.backend: bench.outcome.latencies}, f"{bench.model}, {bench.way}", file)
