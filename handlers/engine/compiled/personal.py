"""The arithmetic of the preset `personal`: that of its served graph, one user at a time.

In float64, with answers in float32. Rows are those of `bundles.tables`: 0 is "unknown".
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundles.tables import PersonalTables
from handlers.engine.compiled.ids import in_rows
from handlers.engine.compiled.jit import compiled, compiled_to_the_letter
from handlers.engine.compiled.layers import BLOCK, dense, products
from handlers.engine.compiled.prefetch import AHEAD, fetch
from handlers.engine.compiled.selection import (
    Asked,
    Need,
    Ranked,
    in_the_running,
    likeliest_first,
    ranked,
    score_of,
    settled,
)
from handlers.engine.query import HIGHEST_RATING, LOWEST_RATING

RATED = 4 * BLOCK  # candidates that are rated at once
# Places in `scalars`, in the order of `bundles.tables.SCALARS`.
USUAL, TASTE, DEEP, ALONE, USER_DAMPING, GENRE_DAMPING, PRODUCT = range(7)
CROSSED_HALF, ALIKE_HALF, FAR = range(7, 10)


# float64[N] each: of each candidate the sum of crosses, and of crosses times how much is liked.
Crossed = tuple[NDArray[np.float64], NDArray[np.float64]]


class User(NamedTuple):
    """What a request pays for once.

    liked: float64[H], by how much each of the history is liked; offset: rating points; affine,
    rater: float64[D], what meets the candidates' vectors for affinity and for rating.
    """

    liked: NDArray[np.float64]
    offset: float
    affine: NDArray[np.float64]
    rater: NDArray[np.float64]


class Seen(NamedTuple):
    """The anime of a history: there: bool[A], which; place: int32[A], where it stands, of those;
    times, liked: float64[H], how often it stands there, and by how much it is liked in all.
    """

    there: NDArray[np.bool_]
    place: NDArray[np.int32]
    times: NDArray[np.float64]
    liked: NDArray[np.float64]


@compiled
def rank(
    tables: PersonalTables,
    index: NDArray[np.int32],
    asked: Asked,
    need: Need,
    place: NDArray[np.int32],
) -> Ranked:
    """The best candidates; index: `Catalogue.by_id`; place: int32[A], scratch."""
    request = in_rows(index, asked)
    user = _user(tables, request)
    crosses = _cross(tables, request, user.liked, place)
    affinities, wides = _affinities(tables, request, user, crosses)
    seen = _seen(request, user.liked, place)
    rated, ratings, scores = _rated(tables, request, user, affinities, crosses, seen, need)
    finite = bool(np.isfinite(affinities).all() and np.isfinite(scores).all())
    best, columns = ranked(rated, scores, ratings, affinities, wides, need.top_k)
    return best, columns, finite


@compiled_to_the_letter
def rank_now(
    tables: PersonalTables,
    index: NDArray[np.int32],
    asked: Asked,
    need: Need,
    place: NDArray[np.int32],
) -> Ranked:
    """As `rank`, for what is quick."""
    return rank(tables, index, asked, need, place)


@compiled
def _user(tables: PersonalTables, asked: Asked) -> User:
    watched, length = asked.watched, len(asked.watched)
    dim = tables.watched.shape[1] - 1
    liked, total, rated = np.zeros(length), 0.0, 0
    for h in range(length):
        if not math.isnan(asked.ratings[h]):
            liked[h] = np.float64(asked.ratings[h]) - tables.watched[watched[h], dim]
            total += liked[h]
            rated += 1
    offset = total / (rated + tables.scalars[USER_DAMPING])
    units = np.zeros(2 * dim + 3)
    for h in range(length):
        if not math.isnan(asked.ratings[h]):
            liked[h] -= offset
        fetch(tables.watched, watched[min(h + AHEAD, length - 1)])
        vector = tables.watched[watched[h]]
        for d in range(dim):
            units[d] += vector[d]
            units[dim + d] += liked[h] * vector[d]
    root = math.sqrt(length + 1.0)
    for d in range(dim):
        units[d] /= root
        units[dim + d] /= root
    units[-3] = math.log1p(length) - 4
    units[-2] = offset
    units[-1] = 1.0 if length == 0 else 0.0
    hidden, stated = np.empty(len(tables.tower_in)), _stated(tables, asked)
    dense(tables.tower_in, units, hidden)
    for t in range(len(hidden)):
        hidden[t] = max(hidden[t] + stated[t], 0.0)
    both = np.empty(2 * dim)
    dense(tables.tower_out, hidden, both)
    return User(liked, offset, both[:dim], both[dim:])


@compiled
def _stated(tables: PersonalTables, asked: Asked) -> NDArray[np.float64]:
    """float64[T], what the profile adds to the tower's first layer."""
    far, stored = tables.scalars[FAR], tables.user[asked.user]
    gender = stored[0] if math.isnan(asked.profile[0]) else asked.profile[0]
    known = 0 <= gender < len(tables.genders)
    units: NDArray[np.float64] = tables.genders[int(gender) if known else 0].copy()
    for p in range(len(tables.numbers)):
        stated = stored[p + 1] if math.isnan(asked.profile[p + 1]) else asked.profile[p + 1]
        if not math.isnan(stated):
            number = tables.numbers[p]
            scaled = (np.float64(stated) - number[-2]) / number[-1]
            scaled = min(max(scaled, -far), far)
            for t in range(len(units)):
                units[t] += scaled * number[t]
    return units


@compiled
def _cross(
    tables: PersonalTables, asked: Asked, liked: NDArray[np.float64], place: NDArray[np.int32]
) -> Crossed:
    """What the history adds to each candidate."""
    candidates = asked.candidates
    crossed, crossed_liked = np.zeros(len(candidates)), np.zeros(len(candidates))
    there = np.zeros(len(place), np.bool_)  # a byte an anime stays in the fastest cache
    for n in range(len(candidates)):
        if candidates[n]:
            place[candidates[n] - 1] = n
            there[candidates[n] - 1] = True
    for h in range(len(asked.watched)):
        row = asked.watched[h] - 1
        fetch(tables.crossed, asked.watched[min(h + AHEAD, len(asked.watched) - 1)] - 1)
        for k in range(tables.crossed.shape[1]):
            anime = tables.crossed[row, k]
            if there[anime]:
                n, weight = place[anime], np.float64(tables.cross_weights[row, k])
                crossed[n] += weight
                crossed_liked[n] += weight * liked[h]
    return crossed, crossed_liked


@compiled
def _affinities(
    tables: PersonalTables,
    asked: Asked,
    user: User,
    crosses: Crossed,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float32[N] each: affinities and wide scores."""
    crossed, crossed_liked = crosses
    count, dim = len(asked.candidates), len(user.affine)
    affinities, wides = np.empty(count, np.float32), np.empty(count, np.float32)
    tastes = _tastes(tables, asked.watched, user.liked)
    size = len(asked.watched) + 1.0
    scale = tables.scalars[DEEP] * size + tables.scalars[ALONE] / size
    for n in range(count):
        row = asked.candidates[n]
        fetch(tables.anime, asked.candidates[min(n + AHEAD, count - 1)])
        anime, logit = tables.anime[row], 0.0
        for d in range(dim):
            logit += anime[d] * user.affine[d]
        logit += anime[dim + 1]
        wide = crossed[n] + tables.scalars[TASTE] * crossed_liked[n]
        if row:
            for g in range(len(tastes)):
                wide += tastes[g] * tables.genre[row - 1, g]
        affinity = wide + scale * (1.0 if logit > 0 else math.exp(logit))
        if size == 1:
            affinity += anime[dim + 2]
        affinities[n], wides[n] = affinity, wide
    return affinities, wides


@compiled
def _tastes(
    tables: PersonalTables, watched: NDArray[np.int64], liked: NDArray[np.float64]
) -> NDArray[np.float64]:
    """float64[G], what each genre adds to a candidate of it."""
    liking, watching, usual = tables.genre_numbers
    length, damping = len(watched), tables.scalars[GENRE_DAMPING]
    tastes = np.zeros(len(liking))
    for g in range(len(liking)):
        seen, love = 0.0, 0.0
        for h in range(length):
            member = tables.genre[watched[h] - 1, g]
            seen += member
            love += member * liked[h]
        unusual = (seen - usual[g] * length) / (length + damping)
        tastes[g] = liking[g] * love / (seen + damping) + watching[g] * unusual
    return tastes


@compiled
def _seen(asked: Asked, liked: NDArray[np.float64], place: NDArray[np.int32]) -> Seen:
    """place: scratch, of which the answer is made."""
    length = len(asked.watched)
    there, times, love = np.zeros(len(place), np.bool_), np.zeros(length), np.zeros(length)
    for h in range(length):
        row = asked.watched[h] - 1
        if not there[row]:
            there[row], place[row] = True, h
        times[place[row]] += 1
        love[place[row]] += liked[h]
    return Seen(there, place, times, love)


@compiled
def _rated(
    tables: PersonalTables,
    asked: Asked,
    user: User,
    affinities: NDArray[np.float32],
    crosses: Crossed,
    seen: Seen,
    need: Need,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The best candidates and some more: places, ascending, ratings and scores, [n] each.

    The likeliest are rated first, until nobody else can be among the best.
    """
    running = in_the_running(affinities, need)
    places, highest = likeliest_first(running, affinities, need)
    ratings, scores = np.empty(len(places), np.float32), np.empty(len(places), np.float32)
    side = _rating_side(tables, user)
    count = 0
    while count < len(places) and not settled(scores[:count], highest[count], need):
        block = places[count : count + RATED]
        found = _ratings(tables, asked, user, side, block, crosses, seen)
        for n in range(len(block)):
            ratings[count + n] = found[n]
            scores[count + n] = score_of(affinities[block[n]], found[n], need)
        count += len(block)
    in_order = np.argsort(places[:count])
    return places[in_order], ratings[in_order], scores[in_order]


@compiled
def _ratings(
    tables: PersonalTables,
    asked: Asked,
    user: User,
    side: tuple[NDArray[np.float64], NDArray[np.float64]],
    places: NDArray[np.int64],
    crosses: Crossed,
    seen: Seen,
) -> NDArray[np.float32]:
    """float32[n], the predicted ratings of the candidates at up to `RATED` places.

    side: as `_rating_side` gives it.
    """
    by_vector, from_user = side
    ratings = np.empty(len(places), np.float32)
    # A block's vectors stay in the fastest cache; of the last, some may mean nothing.
    vectors = np.zeros((RATED, len(user.rater)))
    first = np.empty((len(vectors), len(from_user)))
    second = np.empty((len(vectors), len(tables.hidden)))
    signals = np.empty((len(places), tables.from_signals.shape[1]))
    used = -(-len(places) // BLOCK) * BLOCK
    for n in range(len(places)):
        anime = tables.anime[asked.candidates[places[n]]]
        for d in range(vectors.shape[1]):
            vectors[n, d] = anime[d]
    products(by_vector, vectors[:used], first[:used])
    for n in range(len(places)):
        _signals(tables, asked, user, places[n], crosses, seen, signals[n])
        for r in range(len(from_user)):
            total = first[n, r] + from_user[r]
            for s in range(signals.shape[1]):
                total += tables.from_signals[r, s] * signals[n, s]
            first[n, r] = max(total, 0.0)
    products(tables.hidden, first[:used], second[:used])
    for n in range(len(places)):
        ratings[n] = _rating(tables, asked.candidates[places[n]], user, second[n], signals[n])
    return ratings


@compiled
def _rating_side(
    tables: PersonalTables, user: User
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """float64[R, D] and float64[R]: the first layer behind a candidate's vector, for this user.

    Weights times the user first: a candidate then pays for one product, not for two.
    """
    of_anime, of_product = tables.from_anime
    by_vector, from_user = np.empty(of_anime.shape), np.empty(len(of_anime))
    for r in range(len(of_anime)):
        for d in range(len(user.rater)):
            by_vector[r, d] = of_product[r, d] * user.rater[d] + of_anime[r, d]
    dense(tables.from_user, user.rater, from_user)
    return by_vector, from_user


@compiled
def _signals(
    tables: PersonalTables,
    asked: Asked,
    user: User,
    at: int,
    crosses: Crossed,
    seen: Seen,
    signals: NDArray[np.float64],
) -> None:
    """Write what the rating of the candidate at a place knows beside the vectors."""
    row, crossed, crossed_liked = asked.candidates[at], crosses[0][at], crosses[1][at]
    alike, alike_liked = 0.0, 0.0
    if row:
        for n in range(tables.alike.shape[1]):
            anime = tables.alike[row - 1, n]
            if seen.there[anime]:
                weight = np.float64(tables.likeness[row - 1, n])
                alike += weight * seen.times[seen.place[anime]]
                alike_liked += weight * seen.liked[seen.place[anime]]
    signals[0] = user.offset
    signals[1] = tables.anime[row, len(user.rater)] - tables.scalars[USUAL]
    signals[2] = crossed_liked
    signals[3] = crossed_liked / (abs(crossed) + tables.scalars[CROSSED_HALF])
    signals[4] = crossed
    signals[5] = alike_liked / (alike + tables.scalars[ALIKE_HALF])
    signals[6] = math.log1p(alike)


@compiled
def _rating(
    tables: PersonalTables,
    row: int,
    user: User,
    second: NDArray[np.float64],
    signals: NDArray[np.float64],
) -> np.float32:
    """The predicted rating of one candidate; second: float64[S], its last layer less the bias."""
    anime, dim = tables.anime[row], len(user.rater)
    deep, product = tables.last[-1], 0.0
    for s in range(len(second)):
        deep += tables.last[s] * max(second[s] + tables.hidden[s, -1], 0.0)
    for s in range(len(signals)):
        deep += tables.from_signals[-1, s] * signals[s]
    for d in range(dim):
        product += anime[d] * user.rater[d]
    rating = anime[dim] + user.offset + tables.scalars[PRODUCT] * product + anime[dim + 3] + deep
    if rating < LOWEST_RATING:
        return np.float32(LOWEST_RATING)
    return np.float32(HIGHEST_RATING if rating > HIGHEST_RATING else rating)
