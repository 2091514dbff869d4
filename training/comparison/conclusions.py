"""What the figures of a comparison say, in words."""

from collections.abc import Iterator

from training.comparison.evaluator import Row
from training.presets import PersonalPreset

WHOLE, HISTORY, NOTHING = "and the rating", "visitor, history only", "visitor, nothing"


def remarks(lines: list[Row], preset: PersonalPreset, missing: list[str]) -> list[str]:
    """Sentences for a reader; `missing`: baselines whose library is not installed."""
    table, split_by = {line.model: line for line in lines}, preset.split_by
    said = []
    if preset.dump_aggregates:
        said.append(
            "This run learnt from the dump's own counts and means (--dump-aggregates), which hold "
            "the held-out ratings: its figures flatter."
        )
    said += [*_ratings(table), *_lists(table), *_visitors(table), *_unseen(table, split_by)]
    if missing:
        said.append(
            f"Left out: {', '.join(missing)}; they need `pip install 'anirank[baselines]'`."
        )
    if "seed, on the rating" in table:
        said.append(
            "The seed's user columns (mean score, completed, …) were counted by the dump over the "
            "held-out ratings too, which flatters it."
        )
    return said


def _ratings(table: dict[str, Row]) -> Iterator[str]:
    ours, bias = table[WHOLE].rmse, table["user + item bias"].rmse
    factors = table["matrix factorisation"].rmse
    if ours is not None and bias is not None and factors is not None:
        yield (
            f"The rating errs by {ours:.3f}: {_less(bias - ours)} than the bias model's, "
            f"{_less(factors - ours)} than matrix factorisation's."
        )


def _lists(table: dict[str, Row]) -> Iterator[str]:
    ours, ease = table[WHOLE], table["EASE"]
    if ours.ndcg and ease.ndcg and ours.ndcg_liked and ease.ndcg_liked:
        yield (
            f"NDCG beside EASE's: {ours.ndcg / ease.ndcg - 1:+.1%}; "
            f"where a rating of 8 or more counts, {ours.ndcg_liked / ease.ndcg_liked - 1:+.1%}."
        )


def _visitors(table: dict[str, Row]) -> Iterator[str]:
    ours, history, nothing = table[WHOLE].ndcg, table[HISTORY].ndcg, table[NOTHING].ndcg
    popular = table["popularity"].ndcg
    if ours and history:
        yield (
            f"A visitor without an account who brings a history gets {history / ours:.0%} of the "
            "NDCG of a known user."
        )
    if nothing is None and popular is not None:
        yield "A visitor of whom nothing is known gets no list: all anime are worth the same."
    if nothing is not None and popular is not None:
        verdict = "at least" if nothing >= popular else "less than"
        yield (
            f"A visitor of whom nothing is known gets lists of NDCG {nothing:.3f}: {verdict} "
            f"popularity's {popular:.3f}."
        )


def _unseen(table: dict[str, Row], split_by: str) -> Iterator[str]:
    ours, chance = table[WHOLE].recall_50, table["random order"].recall_50
    if split_by == "anime" and ours is not None and chance:
        yield (
            f"Among anime that nobody had rated, recall@50 is {ours / chance:.1f} times that of a "
            "random order. Models that know an anime by its ratings alone make no list of them."
        )
    if split_by == "users":
        yield (
            "The users were never trained on: their histories came with the request, and their ids "
            "are unknown."
        )


def _less(by: float) -> str:
    return f"{abs(by):.3f} {'less' if by >= 0 else 'more'}"
