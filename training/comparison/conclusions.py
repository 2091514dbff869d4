"""What the figures of a comparison say, in words."""

from collections.abc import Iterator, Sequence

from training.comparison.evaluator import Row

# The rows that a model of one's own has in a comparison: whole, and as visitors meet it.
WHOLE, HISTORY, NOTHING = "and the rating", "visitor, history only", "visitor, nothing"


def remarks(
    rows: Sequence[Row], *, split_by: str, dump_aggregates: bool, missing: Sequence[str]
) -> list[str]:
    """Sentences for a reader.

    split_by: what was held out. dump_aggregates: whether the model learnt from the dump's own
    counts. missing: baselines whose library is not installed.
    """
    table = {row.model: row for row in rows}
    said = []
    if dump_aggregates:
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
    ours, bias = table[WHOLE]["rmse"], table["user + item bias"]["rmse"]
    factors = table["matrix factorisation"]["rmse"]
    if ours is not None and bias is not None and factors is not None:
        yield (
            f"The rating errs by {ours:.3f}: {_less(bias - ours)} than the bias model's, "
            f"{_less(factors - ours)} than matrix factorisation's."
        )


def _lists(table: dict[str, Row]) -> Iterator[str]:
    of_all, of_liked = (_gain(table, metric) for metric in ("ndcg", "ndcg_liked"))
    if of_all is not None and of_liked is not None:
        yield (
            f"NDCG beside EASE's: {of_all:+.1%}; "
            f"where a rating of 8 or more counts, {of_liked:+.1%}."
        )


def _visitors(table: dict[str, Row]) -> Iterator[str]:
    ours, history, nothing = table[WHOLE]["ndcg"], table[HISTORY]["ndcg"], table[NOTHING]["ndcg"]
    popular = table["popularity"]["ndcg"]
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
    ours, chance = table[WHOLE]["recall_50"], table["random order"]["recall_50"]
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


def _gain(table: dict[str, Row], metric: str) -> float | None:
    ours, ease = table[WHOLE][metric], table["EASE"][metric]
    return ours / ease - 1 if ours and ease else None


def _less(by: float) -> str:
    return f"{abs(by):.3f} {'less' if by >= 0 else 'more'}"
