"""Lists of recommenders of other libraries beside those of `personal` runs, on the same rows.

    python -m benchmarks.training.peers.compare run0 run1 run2 --page docs/models.md

Each peer is fitted on a run's training rows, asked for the same users, and its lists go through the
evaluator that `anirank train` ends with. Their packages go into Pythons of their own, by pip. Their
settings were chosen on the validation rows of the first run:

    python -m benchmarks.training.peers.compare run0 --validation --peer SLIM \\
        --settings '{"alpha": 0.1}'
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.console import Console

from benchmarks.systems.environments import Environment, NotInstalled, default_cache
from benchmarks.training.peers.matrix import HISTORIES, SCORES, WATCHED
from benchmarks.training.tables import written
from bundles.files import write_text
from training.comparison.conclusions import WHOLE
from training.comparison.evaluator import Evaluator, Row
from training.comparison.held_out import HeldOut
from training.comparison.table import Comparison
from training.interactions.expectation import Expectation
from training.interactions.interactions import Interactions
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun

IRSPACK = Environment("irspack", ("irspack==0.5.2", "numpy==2.4.6", "scipy==1.17.1"))
RECPACK = Environment("recpack", ("recpack==0.3.6", "torch==2.13.0", "numpy==1.26.4"))
# Is built where it is installed, with the headers of SuiteSparse (Debian: libsuitesparse-dev).
SANSA = Environment("sansa", ("sansa==1.1.0", "scikit-sparse==0.4.16", "numpy==2.4.6"))
FIT_S = 3_600.0
EASE = "EASE"
HERE = "benchmarks.training.peers"
CHECKOUT = Path(__file__).parents[3]

console = Console(highlight=False, width=100)


@dataclass(frozen=True)
class Peer:
    """A recommender: the module that is its program, where that runs, and its settings."""

    name: str
    module: str
    environment: Environment
    settings: Mapping[str, Any] = field(default_factory=dict)


# By validation on seed 0, of the few that were tried (docs/models.md); RecVAE's are not tuned.
PEERS = (
    Peer("RP3beta", f"{HERE}.rp3beta", IRSPACK, {"beta": 0.0, "top_k": 100}),
    Peer("SANSA", f"{HERE}.sparse_ease", SANSA, {"l2": 200.0, "weight_matrix_density": 0.05}),
    Peer("RecVAE", f"{HERE}.recvae", RECPACK, {"max_epochs": 5, "seed": 0}),
    Peer("EDLAE", f"{HERE}.edlae", IRSPACK, {"reg": 200.0, "dropout_p": 0.1}),
    Peer("SLIM", f"{HERE}.slim", IRSPACK, {"alpha": 0.01, "l1_ratio": 0.1}),
)


class Asked:
    """A run's rows as a peer is told of them, and what was held out for it."""

    def __init__(self, run: PersonalRun, validation: bool) -> None:
        tables = run.tables()
        parts = run.parts(tables)
        expectation = Expectation.fit(tables.ratings, parts.train, len(tables.anime))
        held = (HeldOut.validation_rows if validation else HeldOut.test_rows)(tables, parts)
        self.evaluator = Evaluator(tables, parts, held, expectation)
        users = len(tables.users)
        watched = Interactions.of(tables.ratings, parts.train, expectation, users).watched
        # An anime that nobody of them watched is nothing to these models, and some divide by it.
        self.anime = np.flatnonzero(np.bincount(watched.indices, minlength=watched.shape[1]))
        watched = watched[:, self.anime]
        self.watched = sp.csr_matrix(watched[np.diff(watched.indptr) > 0])
        self.histories = sp.csr_matrix(watched[self.evaluator.users])

    def measured(self, peer: Peer, cache: Path) -> Row:
        """Its lists by the evaluator. Raises NotInstalled; RuntimeError where its program fails."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            sp.save_npz(folder / WATCHED, self.watched)
            sp.save_npz(folder / HISTORIES, self.histories)
            run(peer, folder, cache)
            scores = np.load(folder / SCORES, mmap_mode="r")
            return self.evaluator.lists(Row(peer.name), lambda users: self._whole(users, scores))

    def _whole(self, users: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Scores of the whole catalogue, float32[B, A]: what the peer did not know comes last."""
        found = np.full((len(users), len(self.evaluator.listed)), -np.inf, dtype=np.float32)
        found[:, self.anime] = scores[np.searchsorted(self.evaluator.users, users)]
        return found


def run(peer: Peer, folder: Path, cache: Path) -> None:
    """Have its program leave scores in the folder. Raises NotInstalled, RuntimeError."""
    python = peer.environment.python(cache)
    done = subprocess.run(
        [str(python), "-m", peer.module, str(folder), json.dumps(peer.settings)],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=FIT_S,
    )
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()
        raise RuntimeError(f"{peer.name}: {said[-1][:300]}")


def table(rows: Sequence[Mapping[str, Row]], seeds: Sequence[int]) -> Iterator[str]:
    """NDCG@10, of all and of what was rated 8 or more, a column for each seed; the best last."""
    yield f"| NDCG@10, the same rated 8 or more | {' | '.join(f'seed {seed}' for seed in seeds)} |"
    yield f"| --- | {' | '.join(['---:'] * len(seeds))} |"
    for name in sorted(rows[0], key=lambda model: rows[0][model].values["ndcg"]):
        figures = [
            f"{row.values['ndcg']:.4f}, {row.values['ndcg_liked']:.4f}"
            for row in (each[name] for each in rows)
        ]
        yield f"| {f'**{name}**' if name == WHOLE else name} | {' | '.join(figures)} |"


def beside(run: PersonalRun) -> dict[str, Row]:
    """The rows of the run's own comparison: the model and EASE. Raises ValueError without one."""
    comparison = Comparison.load(run.evaluation_file)
    if comparison is None:
        raise ValueError(f"{run.folder}: was not evaluated; `anirank evaluate` does that")
    return {row.model: row for row in comparison.lines if row.model in (EASE, WHOLE)}


def main() -> None:
    """Print the peers' figures, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="evaluated runs")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peer", action="append", choices=names, help="may be repeated; or all")
    parser.add_argument("--settings", type=json.loads, help="JSON, instead of the chosen ones")
    parser.add_argument("--validation", action="store_true", help="ask for the validation rows")
    parser.add_argument("--page", type=Path, help="a page with the marks <!-- peers -->")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="of their Pythons")
    options = parser.parse_args()
    peers = [peer for peer in PEERS if peer.name in (options.peer or names)]
    if options.settings is not None:
        peers = [replace(peer, settings=options.settings) for peer in peers]
    found, seeds = [], []
    for folder in options.runs:
        opened = PersonalPreset().open(folder)
        asked, rows = Asked(opened, options.validation), {}
        for peer in peers:
            began = time.perf_counter()
            try:
                row = rows[peer.name] = asked.measured(peer, options.cache)
            except NotInstalled as error:
                console.print(f"{peer.name}: left out, {error}")
                continue
            console.print(
                f"{folder} {peer.name} {json.dumps(peer.settings)}: NDCG@10"
                f" {row.values['ndcg']:.4f}, 8+ {row.values['ndcg_liked']:.4f},"
                f" {time.perf_counter() - began:.0f} s"
            )
        found.append(rows if options.validation else {**rows, **beside(opened)})
        seeds.append(opened.settings.seed)
    if options.page is not None:
        page = written(options.page.read_text("utf-8"), "peers", table(found, seeds))
        write_text(options.page, page)


if __name__ == "__main__":
    main()
