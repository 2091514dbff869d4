"""What lists are like apart from what they meet: how novel, how diverse, how true to a taste."""

from collections.abc import Sequence

import numpy as np

SMOOTHING = 0.01  # Steck 2018, section 3: the share of the history's genres mixed into the list's


def self_information(counts: np.ndarray, users: int) -> np.ndarray:
    """-log2 of the share of `users` who rated an anime, float64[A], bits; counts: int64[A].

    The mean over a list is its novelty (Zhou et al. 2010, "Solving the apparent diversity-accuracy
    dilemma of recommender systems", section "Methods"). An anime that nobody rated counts as one
    that a single user did.
    """
    return np.asarray(-np.log2(np.maximum(counts, 1) / max(users, 1)))


def genre_rows(genres: Sequence[Sequence[str]]) -> np.ndarray:
    """The genres of each anime as shares that add up to 1, float64[A, G]; zeros if it has none.

    p(g|i) in Steck 2018, section 3: the same for each genre of an anime.
    """
    names = {name: at for at, name in enumerate(sorted({each for row in genres for each in row}))}
    rows = np.zeros((len(genres), len(names)))
    for row, listed in enumerate(genres):
        rows[row, [names[each] for each in set(listed)]] = 1 / max(len(set(listed)), 1)
    return rows


def genre_shares(genres: np.ndarray) -> np.ndarray:
    """The genres' shares of lists, float64[B, G], of float64[B, K, G]; zeros if there are none."""
    return normalised(genres.sum(axis=1))


def normalised(sums: np.ndarray) -> np.ndarray:
    """Rows that add up to 1, float64[B, G]; rows of zeros stay."""
    totals = sums.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0))


def diversity(genres: np.ndarray) -> np.ndarray:
    """Mean of 1 - cosine of the genres over all pairs of a list, float64[B], of float64[B, K, G].

    Intra-list diversity (Ziegler et al. 2005, "Improving recommendation lists through topic
    diversification", section 3.3, as a distance). Anime without genres are left out; NaN where
    fewer than two are left.
    """
    lengths = np.linalg.norm(genres, axis=2, keepdims=True)
    units = np.divide(genres, lengths, out=np.zeros_like(genres), where=lengths > 0)
    known = (lengths > 0).sum(axis=(1, 2))
    # Of the square of the sum of units, what is not a unit with itself is every pair twice.
    cosines = np.square(units.sum(axis=1)).sum(axis=1) - known
    pairs = (known * (known - 1)).astype(np.float64)
    pairs[pairs == 0] = np.nan
    return np.asarray(1 - cosines / pairs)


def miscalibration(watched: np.ndarray, listed: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of the genres listed from those watched, float64[B], nats.

    watched, listed: float64[B, G], shares of the genres, p and q. Steck 2018, "Calibrated
    recommendations", equations 4 and 5: Σ_g p log(p / q̃), q̃ = (1 - α) q + α p. NaN where no genre
    of the history is known.
    """
    mixed = (1 - SMOOTHING) * listed + SMOOTHING * watched
    ratio = np.divide(watched, mixed, out=np.ones_like(mixed), where=watched > 0)
    divergence = (watched * np.log(ratio)).sum(axis=1)
    divergence[watched.sum(axis=1) == 0] = np.nan
    return np.asarray(divergence)
