"""What each thing that the light graph makes smaller costs, on a run's validation ratings.

    python -m benchmarks.training.light run --users 800

One thing at a time is made smaller, then all that are chosen together. NDCG@10 beside that of the
whole model, with a 95 % bootstrap interval of the difference over users, and the RMSE beside it.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.comparison.ranking_metrics import interval
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.personal.served.light import CHOSEN, Sizes, rounded, scoring

WHOLE = Sizes(2**20, 2**20, 2**15, 2**15, 1e-3, 1e-3, 2**20, 2.0**-20, 2.0**-20, 2.0**-20)
_SMALL = ("layer_steps", "cross_steps", "alike_steps", "appeal_step", "expected_step", "rated_step")
TRIED: dict[str, dict[str, Any]] = {
    **{f"{kept} crosses of each anime": {"crosses": kept} for kept in (64, 48, 32)},
    **{f"{kept} of those alike": {"alike": kept} for kept in (16, 8)},
    **{f"vectors in steps of {step}": {"vector_step": step} for step in (0.7, 1.4)},
    **{f"vectors of histories in {step}": {"watched_step": step} for step in (0.9, 1.8)},
    "layers, weights and the rest in steps": {name: getattr(CHOSEN, name) for name in _SMALL},
}


def measured(run: PersonalRun, users: int | None) -> Iterator[str]:
    """Lines of a table; of so many users, drawn at random, or of all."""
    tables = run.tables()
    parts, model = run.parts(tables), PersonalModel.load(run, tables)
    held = HeldOut.validation_rows(tables, parts)
    asked = np.unique(held.ratings.user_row)
    drawn = np.random.default_rng(1).permutation(asked)[:users]
    rows = np.flatnonzero(np.isin(held.ratings.user_row, drawn))
    held = replace(held, ratings=held.ratings.at(rows))

    def reached(one: PersonalModel) -> tuple[np.ndarray, float]:
        evaluator = Evaluator(tables, parts, held, one.expectation)
        lists = Lists(evaluator)
        for each in one.scores(evaluator.history, evaluator.users):
            lists.add(each.users, each.score)
        rating = one.ratings(evaluator.history, *evaluator.pairs)
        rmse = evaluator.ratings(Row(""), rating)["rmse"]
        assert rmse is not None
        return np.concatenate(lists.per_user["ndcg"]), rmse

    ndcg, rmse = reached(model)
    yield f"| of {len(ndcg):,} users | NDCG@10 | 95 % | RMSE |"
    yield "| --- | ---: | ---: | ---: |"
    yield f"| the whole model | {ndcg.mean():.4f} |  | {rmse:.4f} |"
    sizes = {name: WHOLE._replace(**smaller) for name, smaller in TRIED.items()}
    for name, each in {**sizes, "**all that is chosen**": CHOSEN}.items():
        found, error = reached(scoring(rounded(model, each).model))
        lost = (found - ndcg) / ndcg.mean()
        low, high = interval(lost, np.ones(len(lost)), np.random.default_rng(0))
        by, worse = f"{lost.mean():+z.1%} | {low:+z.1%} to {high:+z.1%}", error - rmse
        yield f"| {name} | {by} | {worse:+z.4f} |"


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run of the preset personal")
    parser.add_argument("--users", type=int, help="ask about so many alone, drawn at random")
    asked = parser.parse_args()
    for line in measured(PersonalPreset().open(asked.run), asked.users):
        print(line, flush=True)


if __name__ == "__main__":
    main()
