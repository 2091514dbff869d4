"""What a card says of a run's figures: tables, sentences, and the metrics in its head."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from training.comparison.baselines import BASELINES
from training.comparison.breakdown import BY_GENDER, GENDERS, HISTORIES, NOT_STATED, POPULARITIES
from training.comparison.conclusions import BOTH, HISTORY, NOTHING, WHOLE
from training.comparison.evaluator import Interval, Row
from training.comparison.metrics import METRICS, Metric
from training.comparison.table import Comparison

NOT_MEASURED = "not measured"
# Fewer users of a group say nothing of it.
FEWEST = 30


@dataclass(frozen=True)
class Figures:
    """measured: how, or that nothing was. head, rows: of a table. metrics: by their type, a name
    and a value each. groups: rows of a table of users and anime."""

    measured: str
    popularity: str
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()
    groups: Sequence[Sequence[str]] = ()
    fairness: Sequence[str] = ()
    metrics: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def figures(measured: Mapping[str, Any]) -> Figures:
    """Of what an evaluation keeps; what is not there is not measured."""
    nothing = f"{NOT_MEASURED.capitalize()}."
    try:
        if "lines" in measured:
            return _of_comparison(Comparison.from_dict(measured))
        if "against" in measured:
            return _of_errors(measured)
    except (KeyError, TypeError, ValueError):
        nothing = "Measured by another version, in a form that this one cannot read."
    return Figures(nothing, nothing)


def _of_errors(measured: Mapping[str, Any]) -> Figures:
    """Of a model that predicts one number."""
    rows = [
        (truth, f"{found['ratings']:,}", *(f"{found[e]:.3f}" for e in ("rmse", "mae", "mean_rmse")))
        for truth, found in measured["against"].items()
    ]
    label = measured["label"]
    return Figures(
        f"On {measured['rows']}, against the label `{label}` and against users' own ratings. "
        f"Intervals: {NOT_MEASURED}.",
        f"{NOT_MEASURED.capitalize()}.",
        head=("predicted against", "ratings", "RMSE", "MAE", "RMSE of their mean"),
        rows=rows,
        metrics={"rmse": (f"RMSE of {label}", float(measured["against"][label]["rmse"]))},
    )


def _of_comparison(comparison: Comparison) -> Figures:
    rows = {row.model: row for row in comparison.lines}
    ours = rows.get(WHOLE) or rows[BOTH]
    baselines = [row for row in comparison.lines if row.model in BASELINES]
    shown = [m for m in METRICS if m.accuracy and ours[m.name] is not None]
    by_name = {metric.name: metric for metric in METRICS}
    return Figures(
        f"On {comparison.rows}: {comparison.ratings:,} ratings of {comparison.users:,} users, and "
        f"lists of {comparison.listed:,} anime less what is known of the user. Intervals are 95 % "
        "bootstrap intervals over users; baselines were fitted on the same ratings.",
        _popularity(ours, rows),
        head=("measure", "this model", "95 %", "best baseline"),
        rows=[
            (f"{metric.heading}: {metric.meaning}", *_value(ours, metric), _best(baselines, metric))
            for metric in shown
        ],
        notes=list(_notes(rows, comparison)),
        groups=list(_groups(comparison, ours, by_name)),
        fairness=list(_fairness(comparison, ours)),
        metrics={
            kind: (by_name[kind].heading, value)
            for kind in ("ndcg", "rmse")
            if (value := ours[kind]) is not None
        },
    )


def _value(row: Row, metric: Metric) -> tuple[str, str]:
    between = row.intervals.get(metric.name)
    return f"{row[metric.name]:.{metric.digits}f}", "" if between is None else _between(between)


def _between(interval: Interval) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}"


def _best(baselines: Sequence[Row], metric: Metric) -> str:
    sign = -1 if metric.best == "lowest" else 1
    some = [(value, row.model) for row in baselines if (value := row[metric.name]) is not None]
    if not some:
        return ""
    value, model = max(some, key=lambda each: sign * each[0])
    return f"{value:.{metric.digits}f} ({model})"


def _notes(rows: Mapping[str, Row], comparison: Comparison) -> Iterator[str]:
    visitors = [(rows[name], said) for name, said in VISITORS.items() if name in rows]
    told = [f"{said} {value:.3f}" for row, said in visitors if (value := row["ndcg"]) is not None]
    if told:
        yield f"NDCG@10 of users whom the model does not know: {', '.join(told)}."
    flattered = [remark for remark in comparison.remarks if "flatter" in remark and "run" in remark]
    yield from flattered


VISITORS = {HISTORY: "with a history and no profile", NOTHING: "with neither"}
NAMES = {
    **{name: f"{name} ratings in the history" for name in HISTORIES},
    **{name: f"stated gender: {name}" for name in GENDERS},
    NOT_STATED: NOT_STATED,
    **{name: f"anime of the {name}" for name in POPULARITIES},
}


def _groups(
    comparison: Comparison, ours: Row, metrics: Mapping[str, Metric]
) -> Iterator[tuple[str, ...]]:
    for name in (*HISTORIES, *BY_GENDER, *POPULARITIES):
        if name == NOT_STATED and name not in comparison.groups:
            yield ("stated gender", *[NOT_MEASURED] * 4)
        if not (size := comparison.groups.get(name, {})).get("users"):
            continue
        cells = (_of_group(ours, metrics[kind], name) for kind in ("ndcg", "rmse"))
        yield (NAMES[name], f"{size['users']:,}", f"{size['ratings']:,}", *cells)


def _apart(one: Interval, other: Interval) -> bool:
    return one[1] < other[0] or other[1] < one[0]


def _of_group(row: Row, metric: Metric, group: str) -> str:
    value = row.apart.get(metric.name, {}).get(group)
    if value is None:
        return NOT_MEASURED
    between = row.apart_intervals.get(metric.name, {}).get(group)
    return f"{value:.3f}" + ("" if between is None else f" ({_between(between)})")


def _fairness(comparison: Comparison, ours: Row) -> Iterator[str]:
    short, *_, long = HISTORIES
    ndcg = ours.apart.get("ndcg", {})
    if short in ndcg and long in ndcg:
        yield (
            f"Short histories are served with an NDCG@10 of {ndcg[short]:.3f}, long ones with "
            f"{ndcg[long]:.3f}. Of a longer history more is held out as well, which makes hits "
            "likelier: the two are no measure of the same task."
        )
    yield from _by_gender(comparison, ours)


def _by_gender(comparison: Comparison, ours: Row) -> Iterator[str]:
    groups = comparison.groups
    if NOT_STATED not in groups:
        yield f"By gender: {NOT_MEASURED}; a run trained or evaluated anew has it."
        return
    stated = [name for name in GENDERS if groups[name]["users"] >= FEWEST]
    few = [name for name in GENDERS if 0 < groups[name]["users"] < FEWEST]
    for metric, heading in (("ndcg", "NDCG@10"), ("rmse", "RMSE")):
        between = ours.apart_intervals.get(metric, {})
        pairs = list(combinations([name for name in stated if name in between], 2))
        lie_apart = [
            f"{one} and {other}" for one, other in pairs if _apart(between[one], between[other])
        ]
        said = (
            f"lie apart for {', '.join(lie_apart)}"
            if lie_apart
            else "overlap: no difference is shown, nor that there is none"
        )
        if pairs:
            yield f"By stated gender, the intervals of {heading} {said}."
    if few:
        yield f"Too few to say anything of ({FEWEST} users are the least): {', '.join(few)}."
    silent = groups[NOT_STATED]["users"]
    yield (
        f"{silent / comparison.users:.0%} of the users asked about state no gender, and those who "
        "do have histories of other lengths; nothing is corrected for that."
    )


def _popularity(ours: Row, rows: Mapping[str, Row]) -> str:
    covered, listed = ours["coverage"], ours["popularity"]
    if covered is None or listed is None:
        return f"{NOT_MEASURED.capitalize()}."
    beside = [
        f"{value:,.0f} in {said}"
        for name, said in (("popularity", "lists by popularity"), ("random order", "random ones"))
        if name in rows and (value := rows[name]["popularity"]) is not None
    ]
    head, _, tail = (ours.apart.get("ndcg", {}).get(name) for name in POPULARITIES)
    text = (
        f"The lists lean to what many have rated. {covered:.1%} of the anime stand in anybody's "
        f"ten; a listed anime has {listed:,.0f} training ratings on average"
        f"{', beside ' + ' and '.join(beside) if beside else ''}."
    )
    if head is not None and tail is not None:
        text += (
            f" Of what was held out of the head, lists reach an NDCG@10 of {head:.3f}, of the tail "
            f"{tail:.3f}."
        )
    return text
