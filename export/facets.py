"""What a bundle's anime can be filtered by, of a run's tables."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundles.facets import Facets

FINISHED = "Finished Airing"
# By the column of a bundle that of the tables.
_LISTS = {"genres": "genres", "studios": "studios"}
_TEXTS = {"types": "type", "sources": "source", "age_ratings": "age_rating"}


def facets(anime: pd.DataFrame) -> Facets:
    """The facets of a run's anime, in their order."""
    columns = {name: anime[column].tolist() for name, column in _LISTS.items()}
    for name, column in _TEXTS.items():
        columns[name] = [[text] if text else [] for text in anime[column]]
    episodes = anime["episodes"].fillna(0).clip(0, np.iinfo(np.int32).max)
    return Facets.of(columns, _years(anime), episodes.to_numpy().astype(np.int32))


def _years(anime: pd.DataFrame) -> NDArray[np.int16]:
    """int16[A, 2], the first and the last year on the air; 0 where there is none."""
    first, last = anime["air_start"].dt.year, anime["air_end"].dt.year
    first = first.fillna(last)
    # Of what has ended, but nobody knows when, one year is certain.
    last = last.where(last.notna() | anime["status"].ne(FINISHED), first)
    years: NDArray[np.int16] = np.stack([first, last], 1)
    return np.nan_to_num(years, nan=0).astype(np.int16)
