"""How alike two anime are before anybody has watched them: by their content and by their titles.

Side information for the crosses (Jeunen, Van Balen & Goethals 2020, "Closed-form models for
collaborative filtering with side-information", section 3): every value, every word of a title and
every few letters of one are one more "user" who watched all anime that have them. Sequels share
them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

from training.interactions.product import product

# What stands in a single title joins nothing; a word of more than 2 % of them is "the" or "season".
FEWEST_TITLES, LARGEST_SHARE, LARGEST_SHARE_OF_LETTERS = 2, 0.02, 0.05
LETTERS = (3, 5)  # in a row, within a word


@dataclass(frozen=True)
class SideInformation:
    """`content`: float32[A, F]; `titles`: float32[A, W], TF-IDF of their words, and beside it of
    their letters, rows of length 1."""

    content: sp.csr_array
    titles: sp.csr_array

    @classmethod
    def of(cls, anime: pd.DataFrame, content: np.ndarray) -> "SideInformation":
        """Of the whole catalogue; `content`: float32[A, F]."""
        titles = anime["name"].fillna("") + " " + anime["english_name"].fillna("")
        both = sp.csr_array(sp.hstack([_words(titles), _letters(titles)]))
        return cls(sp.csr_array(content), both)

    def weighted(self, content_weight: float, title_weight: float) -> sp.csr_array:
        """Both side by side, float32[A, F + W]; products of two rows weigh as much."""
        weights = np.sqrt([content_weight, title_weight], dtype=np.float32)
        parts = (self.content * weights[0], self.titles * weights[1])
        return sp.csr_array(sp.hstack(parts, format="csr"))

    def unit(self, title_share: float) -> sp.csr_array:
        """Both as one row of length 1 for each anime, float32[A, F + W].

        `title_share`: what titles weigh, in what content weighs.
        """
        both = self.weighted(1, title_share)
        squares = both.multiply(both).sum(axis=1)
        scale = 1 / np.sqrt(np.maximum(squares, np.finfo(np.float32).tiny))
        return sp.csr_array(sp.diags_array(scale) @ both)

    def gram(self, rows: np.ndarray, content_weight: float, title_weight: float) -> np.ndarray:
        """Likeness of every two of the anime at `rows`, int64[M], in users: float32[M, M]."""
        both = self.weighted(content_weight, title_weight)[rows]
        return product(both, both.T.tocsr())


def _words(titles: pd.Series) -> sp.csr_array:
    return _tfidf(titles, LARGEST_SHARE)


def _letters(titles: pd.Series) -> sp.csr_array:
    return _tfidf(titles, LARGEST_SHARE_OF_LETTERS, analyzer="char_wb", ngram_range=LETTERS)


def _tfidf(titles: pd.Series, largest_share: float, **how: Any) -> sp.csr_array:
    most = max(FEWEST_TITLES, int(largest_share * len(titles)))
    tfidf = TfidfVectorizer(
        min_df=FEWEST_TITLES, max_df=most, sublinear_tf=True, dtype=np.float32, **how
    )
    try:
        return sp.csr_array(tfidf.fit_transform(titles))
    except ValueError:  # nothing stands in two titles
        return sp.csr_array(np.zeros((len(titles), 0), dtype=np.float32))
