"""How alike two anime are before anybody has watched them: by their content and by their titles.

Side information for the crosses (Jeunen, Van Balen & Goethals 2020, "Closed-form models for
collaborative filtering with side-information", section 3): every value, every word of a title is
one more "user" who watched all anime that have it. Sequels share their words.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor

# A word of a single title joins nothing; one of more than 2 % of them is "the" or "season".
FEWEST_TITLES, LARGEST_SHARE = 2, 0.02


@dataclass(frozen=True)
class SideInformation:
    """`content`: float32[A, F]; `words`: float32[A, W], TF-IDF of the titles, rows of length 1;
    each already times the square root of its weight."""

    content: np.ndarray
    words: sp.csr_array

    @classmethod
    def of(
        cls, anime: pd.DataFrame, content: np.ndarray, content_weight: float, title_weight: float
    ) -> "SideInformation":
        """Of the whole catalogue; `content`: float32[A, F]."""
        titles = anime["name"].fillna("") + " " + anime["english_name"].fillna("")
        words = _words(titles) * np.float32(title_weight**0.5)
        return cls(content * np.float32(content_weight**0.5), sp.csr_array(words))

    def gram(self, rows: np.ndarray) -> Tensor:
        """Weighted likeness of every two of the anime at `rows`, int64[M]: float32[M, M]."""
        content, words = torch.from_numpy(self.content[rows]), self.words[rows]
        gram = content @ content.T
        shared = (words @ words.T).tocoo()
        gram.view(-1).index_add_(
            0,
            torch.from_numpy(shared.row.astype(np.int64) * len(rows) + shared.col),
            torch.from_numpy(shared.data),
        )
        return gram


def _words(titles: pd.Series) -> sp.csr_array:
    most = max(FEWEST_TITLES, int(LARGEST_SHARE * len(titles)))
    tfidf = TfidfVectorizer(min_df=FEWEST_TITLES, max_df=most, sublinear_tf=True, dtype=np.float32)
    try:
        return sp.csr_array(tfidf.fit_transform(titles))
    except ValueError:  # no word stands in two titles
        return sp.csr_array(np.zeros((len(titles), 0), dtype=np.float32))
