"""What the figures of a comparison say, in words."""

from collections.abc import Iterator, Sequence

from training.comparison.evaluator import Row

DIGITS = 3  # of a figure, behind the point
SAME = "the same as"
# The rows that a model of one's own has in a comparison: its parts together, whole, and as visitors
# meet it.
BOTH = "wide and deep"
WHOLE, HISTORY, NOTHING = "and the rating", "visitor, history only", "visitor, nothing"


def remarks(
    rows: Sequence[Row],
    *,
    split_by: str,
    dump_aggregates: bool,
    missing: Sequence[str],
    asked: tuple[int, int],
    raters: int,
) -> list[str]:
    """Sentences for a reader.

    split_by: what was held out. dump_aggregates: whether the model learnt from the dump's own
    counts. missing: baselines whose library is not installed. asked: users who were asked about,
    and who could have been. raters: users who have training ratings.
    """
    table = {row.model: row for row in rows}
    said = []
    if dump_aggregates:
        said.append(
            "This run learnt from the dump's own counts and means (--dump-aggregates), which hold "
            "the held-out ratings: its figures flatter."
        )
    said += [*_ratings(table), *_lists(table), *_visitors(table), *_unseen(table, split_by)]
    if WHOLE in table and BOTH not in table:
        said.append(
            f'β came out as 0: the rating moves no list, and "{BOTH}" is one row with "{WHOLE}".'
        )
    said += _samples(rows, asked, raters)
    if missing:
        said.append(
            f"Left out: {', '.join(missing)}; they need `pip install 'anirank[baselines]'`."
        )
    if "seed, on the rating" in table:
        said.append(
            "The seed's user columns, such as the mean score, were counted by the dump over the "
            "held-out ratings too, which flatters it."
        )
    return said


def _ratings(table: dict[str, Row]) -> Iterator[str]:
    ours, bias = table[WHOLE]["rmse"], table["user + item bias"]["rmse"]
    factors = table["matrix factorisation"]["rmse"]
    if ours is not None and bias is not None and factors is not None:
        yield (
            f"The rating errs by {ours:.3f}: {_apart(ours, bias)} the bias model's, "
            f"{_apart(ours, factors)} matrix factorisation's."
        )


def _lists(table: dict[str, Row]) -> Iterator[str]:
    of_all, of_liked = (_gain(table, metric) for metric in ("ndcg", "ndcg_liked"))
    if of_all is not None and of_liked is not None:
        yield (
            f"NDCG beside EASE's: {_percent(of_all)}; "
            f"where a rating of 8 or more counts, {_percent(of_liked)}."
        )


def _visitors(table: dict[str, Row]) -> Iterator[str]:
    ours, history, nothing = table[WHOLE]["ndcg"], table[HISTORY]["ndcg"], table[NOTHING]["ndcg"]
    popular = table["popularity"]["ndcg"]
    if ours and history:
        yield (
            f"A visitor without an account who brings a history gets {history / ours:.1%} of the "
            "NDCG of a known user."
        )
    if nothing is None and popular is not None:
        yield "A visitor of whom nothing is known gets no list: all anime are worth the same."
    if nothing is not None and popular is not None:
        yield (
            f"A visitor of whom nothing is known gets lists of NDCG {nothing:.3f}: "
            f"{_beside(nothing, popular)} popularity's {popular:.3f}."
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


def _samples(rows: Sequence[Row], asked: tuple[int, int], raters: int) -> Iterator[str]:
    if asked[0] < asked[1]:
        yield (
            f"{asked[0]:,} of the {asked[1]:,} users with ratings held out were asked about, drawn "
            "at random; all figures are of them."
        )
    sampled = {row.model: row.raters for row in rows if row.raters is not None}
    if sampled:
        yield (
            f"Fitted on {max(sampled.values()):,} of the {raters:,} raters alone, drawn at random, "
            f"since all would take too long: {', '.join(sampled)}. That holds them back; the "
            "others were fitted on all."
        )


def _gain(table: dict[str, Row], metric: str) -> float | None:
    ours, ease = table[WHOLE][metric], table["EASE"][metric]
    return ours / ease - 1 if ours and ease else None


def _beside(one: float, other: float) -> str:
    """How one figure stands to another: by the digits that are shown, so that both agree."""
    one, other = round(one, DIGITS), round(other, DIGITS)
    return SAME if one == other else "more than" if one > other else "less than"


def _apart(one: float, other: float) -> str:
    """The same, and how far apart the two are as they are shown."""
    by = abs(round(one, DIGITS) - round(other, DIGITS))
    return f"{by:.{DIGITS}f} {verdict}" if (verdict := _beside(one, other)) != SAME else SAME


def _percent(gain: float) -> str:
    return f"{gain:+.1%}" if round(gain, DIGITS) else "no difference"
