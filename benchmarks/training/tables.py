"""The tables of docs/models.md, out of what runs were measured to be.

    python -m benchmarks.training.tables run0 run1 run2 --page docs/models.md

Each run is of another seed and was evaluated (`anirank train` ends with that). Of the first, every
model; of all, what is said beside the baselines. They are written between the page's marks, or
printed where no page is named.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundles.files import write_text
from training.comparison.breakdown import GROUPS
from training.comparison.conclusions import NOTHING, WHOLE
from training.comparison.evaluator import Row
from training.comparison.metrics import METRICS, Metric
from training.comparison.table import Comparison
from training.personal.preset import PersonalPreset

BIAS, FACTORS, EASE, POPULARITY = "user + item bias", "matrix factorisation", "EASE", "popularity"
MAIN = ("rmse", "ndcg", "ndcg_liked", "recall_10", "recall_50")
# Whom a reader compares: the model among what it is nearest to, and the floor.
CHOSEN = (BIAS, FACTORS, POPULARITY, "item-kNN", "iALS", EASE, "wide alone", "deep alone", WHOLE)


def every_model(comparison: Comparison) -> Iterator[str]:
    """How well each model meets what was held out."""
    metrics = [metric for metric in METRICS if metric.name in MAIN]
    yield _line(["model", *(metric.heading for metric in metrics)])
    yield _rule(len(metrics))
    for row in comparison.lines:
        yield _line([_name(row.model), *(_figure(row[each.name], each) for each in metrics)])


def beyond_accuracy(comparison: Comparison) -> Iterator[str]:
    """What the lists are like."""
    metrics = [metric for metric in METRICS if not metric.accuracy]
    yield _line(["model", *(metric.heading.lower() for metric in metrics)])
    yield _rule(len(metrics))
    for row in comparison.lines:
        if row["coverage"] is not None:
            yield _line([_name(row.model), *(_figure(row[each.name], each) for each in metrics)])


def taken_apart(comparison: Comparison) -> Iterator[str]:
    """RMSE and NDCG by groups of users and of anime."""
    table = {row.model: row for row in comparison.lines}
    for metric in METRICS:
        if metric.apart:
            yield _line([metric.heading, *GROUPS])
            yield _rule(len(GROUPS))
            for model in CHOSEN:
                if model in table and (found := table[model].apart.get(metric.name)) is not None:
                    yield _line([_name(model), *(_figure(found.get(g), metric) for g in GROUPS)])
            yield ""


def over_seeds(comparisons: Sequence[tuple[int, Comparison]]) -> Iterator[str]:
    """What is said of the model, seed beside seed."""
    tables = [{row.model: row for row in each.lines} for _, each in comparisons]
    yield _line(["", *(f"seed {seed}" for seed, _ in comparisons)])
    yield _rule(len(tables))
    yield _line(["RMSE, below the bias model", *(_below(each, BIAS) for each in tables)])
    yield _line(["RMSE, below matrix factorisation", *(_below(each, FACTORS) for each in tables)])
    for metric, name in (("ndcg", "NDCG@10"), ("ndcg_liked", "the same, rated 8 or more")):
        yield _line([f"{name}, EASE, difference", *(_gain(each, metric) for each in tables)])
    for one, other in (("wide alone", "deep alone"), (NOTHING, POPULARITY)):
        pairs = [f"{_four(each[one])}, {_four(each[other])}" for each in tables]
        yield _line([f"NDCG@10: {one}, {other}", *pairs])


def _below(table: dict[str, Row], baseline: str) -> str:
    ours, theirs = table[WHOLE].values["rmse"], table[baseline].values["rmse"]
    return f"{ours:.3f}, {theirs - ours:.3f}"


def _gain(table: dict[str, Row], metric: str) -> str:
    ours, theirs = table[WHOLE].values[metric], table[EASE].values[metric]
    return f"{ours:.4f}, {theirs:.4f}, {ours / theirs - 1:+.1%}"


def _four(row: Row) -> str:
    return f"{row.values['ndcg']:.4f}"


def _name(model: str) -> str:
    return f"**{model}**" if model == WHOLE else model


def _figure(value: float | None, metric: Metric) -> str:
    return "" if value is None else f"{value:,.{metric.digits}f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(figures: int) -> str:
    return _line(["---", *["---:"] * figures])


def written(page: str, name: str, lines: Iterator[str]) -> str:
    """`page` with the lines between its marks of that name. Raises ValueError where it has none."""
    text = "\n".join(lines).strip()
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    page, found = marked.subn(lambda marks: f"{marks[1]}\n{text}\n\n{marks[2]}", page)
    if not found:
        raise ValueError(f"the page has no <!-- {name} --> and <!-- /{name} -->")
    return page


def main() -> None:
    """Write the tables into the page, or print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="evaluated runs, the first in full")
    parser.add_argument("--page", type=Path, help="a page with a pair of marks for each table")
    options = parser.parse_args()
    comparisons = []
    for folder in options.runs:
        run = PersonalPreset().open(folder)
        comparison = Comparison.load(run.evaluation_file)
        if comparison is None:
            parser.error(f"{folder}: was not evaluated; `anirank evaluate` does that")
        comparisons.append((run.settings.seed, comparison))
    first = comparisons[0][1]
    tables = {
        "every model": every_model(first),
        "seeds": over_seeds(comparisons),
        "beyond accuracy": beyond_accuracy(first),
        "taken apart": taken_apart(first),
    }
    if options.page is None:
        print("\n".join("\n".join([*lines, ""]) for lines in tables.values()))
        return
    page = options.page.read_text("utf-8")
    for name, lines in tables.items():
        page = written(page, name, lines)
    write_text(options.page, page)


if __name__ == "__main__":
    main()
