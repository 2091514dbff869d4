"""The compact binary form of a batch: queries one way, rankings and errors the other.

Each batch is a set of arrays (`handlers.forms.tensors`); what has a length of its own in every
query stands as one array of values and one of offsets, and is left out where it is empty in all of
them. An array costs about 10 microseconds on its way, whatever it holds, so that they are few.
Errors and filters are JSON, in an array of its bytes, where there are any.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import Fault, InvalidQuery, WireError
from handlers.engine.query import Familiarity, Limits, Objective, Query, Ranking
from handlers.engine.reasons import Reasons, no_reasons
from handlers.engine.refusal import Refusal
from handlers.filters.filter import Filter
from handlers.forms import tensors
from handlers.forms.json.filter import read_filter, write_filter

LARGEST_BATCH = 4_096  # queries; a bound on what a few hostile bytes can make the reader build

_QUERIES = "anirank.queries/3"
_WITH_RECORDED = "anirank.queries/4"  # which an archive made before would rank without
_RANKINGS = "anirank.rankings/3"
# The bits of a query's flags: what is there, and what is asked for.
_USER_ID, _TOP_K, _CANDIDATES, _PROFILE = 1, 2, 4, 8
_INCLUDE_SEEN, _INCLUDE_ADULT, _EXPLAIN, _ALL_FLAGS = 16, 32, 64, 127
# How much a filter may hold is the engine's to say, by limits of its own.
_ANY_SIZE = Limits(filter_values=2**31, filter_ids=2**31)
_Arrays = dict[str, NDArray[Any]]
# What has a length of its own in every query or ranking, by the name of its offsets.
_RAGGED: dict[str, dict[str, type[np.generic]]] = {
    "candidate": {"ids": np.int64},
    "profile": {"values": np.float32},
    "history": {"ids": np.int64, "ratings": np.float32},
    "recorded": {"ids": np.int64, "ratings": np.float32},
    "filter": {"json": np.uint8},  # none where nobody asked for one: "{}" is one
    "unknown": {"ids": np.int64},
    "unknown_history": {"ids": np.int64},
    "ranked": {
        "ids": np.int64,
        "scores": np.float32,
        "ratings": np.float32,
        "affinities": np.float32,
        "wides": np.float32,
    },
    # As many as are ranked, or none where nobody asked for reasons.
    "explained": {"reasons": np.int64, "rests": np.float64},  # how many each has
    "reason": {
        "ids": np.int64,
        "ratings": np.float32,
        "genres": np.int64,
        "contributions": np.float32,
    },
}


def is_binary(body: bytes | bytearray) -> bool:
    """Whether a body can only be the binary form: its eighth byte is 0, which JSON never holds."""
    return len(body) >= 8 and body[7] == 0


def write_queries(queries: Sequence[Query]) -> bytes:
    """The batch as bytes; every user_id and top_k must fit int64."""
    recorded = _ragged(
        "recorded",
        [
            [query.recorded_ids for query in queries],
            [query.recorded_ratings for query in queries],
        ],
    )
    return tensors.write(
        {
            "user_id": np.array([query.user_id or 0 for query in queries], np.int64),
            "top_k": np.array([query.top_k or 0 for query in queries], np.int64),
            "objective": np.array([query.objective for query in queries], np.uint8),
            "flags": np.array([_flags(query) for query in queries], np.uint8),
            **_ragged("candidate", [[_given(query.candidate_ids, np.int64) for query in queries]]),
            **_ragged("profile", [[_given(query.profile, np.float32) for query in queries]]),
            **_ragged(
                "history",
                [
                    [query.history_ids for query in queries],
                    [query.history_ratings for query in queries],
                ],
            ),
            **recorded,
            **_diversities(queries),
            **_ragged("filter", [[_filter_json(query.filter) for query in queries]]),
        },
        {"format": _WITH_RECORDED if recorded else _QUERIES},
    )


def read_queries(body: bytes | bytearray) -> list[Query]:
    """The batch that `write_queries` wrote; raises WireError for other bytes."""
    arrays = _read(body, _QUERIES, _WITH_RECORDED)
    size = _size(arrays, "user_id", np.int64)
    user_id = _column(arrays, "user_id", np.int64, size)
    top_k = _column(arrays, "top_k", np.int64, size)
    objective = _choices(arrays, "objective", Objective, size)
    flags = _column(arrays, "flags", np.uint8, size)
    if any(has > _ALL_FLAGS for has in flags):
        raise WireError(f"flags has {max(flags)}, should be at most {_ALL_FLAGS}")
    (candidates,) = _split(arrays, "candidate", size)
    histories, ratings = _split(arrays, "history", size)
    recorded, recorded_ratings = _split(arrays, "recorded", size)
    (profiles,) = _split(arrays, "profile", size)
    (filters,) = _split(arrays, "filter", size)
    diversity = [0.0] * size
    if "diversity" in arrays:
        diversity = _column(arrays, "diversity", np.float64, size)
    return [
        Query(
            user_id=user_id[i] if has & _USER_ID else None,
            candidate_ids=candidates[i] if has & _CANDIDATES else None,
            history_ids=histories[i],
            history_ratings=ratings[i],
            recorded_ids=recorded[i],
            recorded_ratings=recorded_ratings[i],
            profile=profiles[i] if has & _PROFILE else None,
            top_k=top_k[i] if has & _TOP_K else None,
            objective=objective[i],
            include_seen=bool(has & _INCLUDE_SEEN),
            include_adult=bool(has & _INCLUDE_ADULT),
            explain=bool(has & _EXPLAIN),
            filter=_filter(filters[i]),
            diversity=diversity[i],
        )
        for i, has in enumerate(flags)
    ]


def write_rankings(answers: Sequence[Ranking | InvalidQuery]) -> bytes:
    """The answers as bytes, in order, the errors among them."""
    rankings = [answer if isinstance(answer, Ranking) else _NONE for answer in answers]
    reasons = [ranking.reasons or _NO_REASONS for ranking in rankings]
    errors = [
        {"place": place, "faults": answer.faults}
        for place, answer in enumerate(answers)
        if isinstance(answer, InvalidQuery)
    ]
    return tensors.write(
        {
            "familiarity": np.array([ranking.familiarity for ranking in rankings], np.uint8),
            "history_size": np.array([ranking.history_size for ranking in rankings], np.int64),
            "compute_s": np.array([ranking.compute_s for ranking in rankings], np.float64),
            "has_reasons": np.array(
                [ranking.reasons is not None for ranking in rankings], np.bool_
            ),
            **_ragged("unknown", [[ranking.unknown_candidates for ranking in rankings]]),
            **_ragged("unknown_history", [[ranking.unknown_history for ranking in rankings]]),
            **_ragged(
                "ranked",
                [
                    [ranking.anime_ids for ranking in rankings],
                    [ranking.scores for ranking in rankings],
                    [ranking.ratings for ranking in rankings],
                    [ranking.affinities for ranking in rankings],
                    [ranking.wides for ranking in rankings],
                ],
            ),
            **_ragged(
                "explained",
                [[np.diff(each.offsets) for each in reasons], [each.rests for each in reasons]],
            ),
            **_ragged(
                "reason",
                [
                    [each.anime_ids for each in reasons],
                    [each.ratings for each in reasons],
                    [each.genres for each in reasons],
                    [each.contributions for each in reasons],
                ],
            ),
            **({"errors": np.frombuffer(json.dumps(errors).encode(), np.uint8)} if errors else {}),
        },
        {"format": _RANKINGS},
    )


def read_rankings(body: bytes | bytearray) -> list[Ranking | InvalidQuery]:
    """The answers that `write_rankings` wrote; raises WireError for other bytes."""
    arrays = _read(body, _RANKINGS)
    size = _size(arrays, "familiarity", np.uint8)
    familiarity = _choices(arrays, "familiarity", Familiarity, size)
    history_size = _column(arrays, "history_size", np.int64, size)
    if not all(0 <= count < 2**32 for count in history_size):
        raise WireError("history_size should be from 0 to 4294967295")
    compute_s = _column(arrays, "compute_s", np.float64, size)
    has_reasons = _column(arrays, "has_reasons", np.bool_, size)
    (unknown,) = _split(arrays, "unknown", size)
    (unknown_history,) = _split(arrays, "unknown_history", size)
    ids, scores, ratings, affinities, wides = _split(arrays, "ranked", size)
    counts, rests = _split(arrays, "explained", size)
    reason = _split(arrays, "reason", size)
    answers: list[Ranking | InvalidQuery] = [
        Ranking(
            ids[i],
            scores[i],
            ratings[i],
            affinities[i],
            wides[i],
            unknown[i],
            unknown_history[i],
            history_size[i],
            familiarity[i],
            compute_s[i],
            _reasons(counts[i], [column[i] for column in reason], rests[i], len(ids[i]))
            if has_reasons[i]
            else None,
        )
        for i in range(size)
    ]
    for place, error in _errors(arrays, size) if "errors" in arrays else ():
        answers[place] = error
    return answers


# What stands in the arrays where an error is the answer.
_NONE = Ranking(
    anime_ids=np.empty(0, np.int64),
    scores=np.empty(0, np.float32),
    ratings=np.empty(0, np.float32),
    affinities=np.empty(0, np.float32),
    wides=np.empty(0, np.float32),
    unknown_candidates=np.empty(0, np.int64),
    unknown_history=np.empty(0, np.int64),
    history_size=0,
    familiarity=Familiarity.NEW,
)
_NO_REASONS = no_reasons(_NONE.wides)


def _flags(query: Query) -> int:
    return (
        (_USER_ID if query.user_id is not None else 0)
        | (_TOP_K if query.top_k is not None else 0)
        | (_CANDIDATES if query.candidate_ids is not None else 0)
        | (_PROFILE if query.profile is not None else 0)
        | (_INCLUDE_SEEN if query.include_seen else 0)
        | (_INCLUDE_ADULT if query.include_adult else 0)
        | (_EXPLAIN if query.explain else 0)
    )


def _diversities(queries: Sequence[Query]) -> _Arrays:
    """None where nobody asked for any."""
    asked = np.array([query.diversity for query in queries], np.float64)
    return {"diversity": asked} if asked.any() else {}


def _filter_json(asked: Filter | None) -> NDArray[np.uint8]:
    text = b"" if asked is None else json.dumps(write_filter(asked)).encode()
    return np.frombuffer(text, np.uint8)


def _filter(text: NDArray[np.uint8]) -> Filter | None:
    if not len(text):
        return None
    refusal = Refusal()
    try:
        asked = read_filter(json.loads(text.tobytes()), _ANY_SIZE, refusal)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a filter cannot be read ({error})") from error
    if refusal:
        raise WireError(f"a filter cannot be read ({refusal.error()})")
    return asked


def _given(values: NDArray[Any] | None, dtype: type[np.generic]) -> NDArray[Any]:
    return np.empty(0, dtype) if values is None else values


def _ragged(name: str, columns: list[list[NDArray[Any]]]) -> _Arrays:
    """Columns of the same lengths as one array each, and the offsets they share; none if empty."""
    if not any(map(len, columns[0])):
        return {}
    offsets = np.zeros(len(columns[0]) + 1, np.int64)
    np.cumsum([len(values) for values in columns[0]], out=offsets[1:])
    arrays: _Arrays = {f"{name}_offsets": offsets}
    for (column, dtype), parts in zip(_RAGGED[name].items(), columns, strict=True):
        arrays[f"{name}_{column}"] = np.concatenate(parts, dtype=dtype)
    return arrays


def _read(body: bytes | bytearray, *forms: str) -> _Arrays:
    arrays, metadata = tensors.read(body)
    if metadata.get("format") not in forms:
        raise WireError(
            f"format is {metadata.get('format')!r}, this version of anirank reads {forms[0]!r}; "
            "both sides, the .mar included, should be of one version"
        )
    return arrays


def _size(arrays: _Arrays, name: str, dtype: type[np.generic]) -> int:
    size = len(_array(arrays, name, dtype))
    if size > LARGEST_BATCH:
        raise WireError(f"{size} entries in a batch, should be at most {LARGEST_BATCH}")
    return size


def _array(arrays: _Arrays, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim != 1:
        raise WireError(f"{name} should be a vector of {dtype.__name__}")
    return array


def _column(arrays: _Arrays, name: str, dtype: type[np.generic], size: int) -> list[Any]:
    array = _array(arrays, name, dtype)
    if len(array) != size:
        raise WireError(f"{name} has {len(array)} entries, should have {size}")
    values: list[Any] = array.tolist()
    return values


def _choices(arrays: _Arrays, name: str, kind: type[Any], size: int) -> list[Any]:
    try:
        return [kind(value) for value in _column(arrays, name, np.uint8, size)]
    except ValueError as error:
        raise WireError(f"{name}: {error}") from error


def _split(arrays: _Arrays, name: str, size: int) -> tuple[list[NDArray[Any]], ...]:
    """What `_ragged` joined: for every column the entries' own values, as views."""
    if not any(f"{name}_{column}" in arrays for column in ("offsets", *_RAGGED[name])):
        return tuple([np.empty(0, dtype)] * size for dtype in _RAGGED[name].values())
    offsets = _array(arrays, f"{name}_offsets", np.int64)
    values = [_array(arrays, f"{name}_{column}", dtype) for column, dtype in _RAGGED[name].items()]
    bounds = offsets.tolist()
    ends_well = len(bounds) == size + 1 and bounds[0] == 0
    if not ends_well or any(bounds[-1] != len(column) for column in values):
        raise WireError(f"{name}_offsets should be {size + 1} entries from 0 to the values' end")
    if bounds != sorted(bounds):
        raise WireError(f"{name}_offsets should ascend")
    return tuple([column[bounds[i] : bounds[i + 1]] for i in range(size)] for column in values)


def _reasons(
    counts: NDArray[np.int64],
    columns: list[NDArray[Any]],
    rests: NDArray[np.float64],
    ranked: int,
) -> Reasons:
    if len(counts) != ranked:
        raise WireError(f"explained_reasons has {len(counts)} entries, should have {ranked}")
    offsets = np.append(0, np.cumsum(counts))
    if np.any(counts < 0) or offsets[-1] != len(columns[0]):
        raise WireError(
            f"explained_reasons should add up to the {len(columns[0])} reasons there are"
        )
    ids, ratings, genres, contributions = columns
    return Reasons(offsets, ids, ratings, genres, contributions, rests)


def _errors(arrays: _Arrays, size: int) -> list[tuple[int, InvalidQuery]]:
    text = _array(arrays, "errors", np.uint8).tobytes()
    try:
        errors = [(int(entry["place"]), _error(entry["faults"])) for entry in json.loads(text)]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise WireError(f"the errors cannot be read ({error})") from error
    if not all(0 <= place < size for place, _ in errors):
        raise WireError(f"an error's place is outside the batch of {size}")
    return errors


def _error(faults: list[list[object]]) -> InvalidQuery:
    (field, reason), *others = [Fault(str(field), str(reason)) for field, reason in faults]
    return InvalidQuery(field, reason, others)
