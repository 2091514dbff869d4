"""The options of a filter, and the message they make."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anirank.contract.ranking_pb2 import (
        Filter,
        RangeFilter,
        RankRequest,
        RecommendRequest,
        SimilarRequest,
    )

_COLUMNS = ("genres", "types", "studios", "sources", "age_ratings")

With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="COLUMN=VALUE",
        help="Only anime of this value, or of another one given so of the same column, as in "
        f"genres=Action. Columns: {', '.join(_COLUMNS)}.",
    ),
]
WithAll = Annotated[
    list[str] | None,
    typer.Option("--with-all", metavar="COLUMN=VALUE", help="Only anime of all values given so."),
]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="COLUMN=VALUE", help="No anime of this value."),
]
Years = Annotated[
    str | None, typer.Option(metavar="MIN:MAX", help="Only what was on the air then, as in 2000:.")
]
Episodes = Annotated[
    str | None, typer.Option(metavar="MIN:MAX", help="Only of so many episodes, as in :26.")
]
WithoutIds = Annotated[
    str | None, typer.Option(metavar="IDS", help="Anime ids to leave out, as in 1,5,6.")
]
OnlyIds = Annotated[
    str | None, typer.Option(metavar="IDS", help="Only these anime ids, as in 1,5,6.")
]


@dataclass(frozen=True)
class FilterOptions:
    """What was given of a filter on the command line."""

    any: With = None
    all: WithAll = None
    none: Without = None
    years: Years = None
    episodes: Episodes = None
    without_ids: WithoutIds = None
    only_ids: OnlyIds = None

    def add_to(self, request: "RankRequest | RecommendRequest | SimilarRequest") -> None:
        """Add the filter to a request, where anything was given of it; raises BadParameter."""
        if (only := self.message()) is not None:
            request.filter.CopyFrom(only)

    def message(self) -> "Filter | None":
        """The filter, None where nothing was given of it; raises typer.BadParameter."""
        from anirank.contract.ranking_pb2 import AnimeIds, Filter

        if self == FilterOptions():
            return None
        made = Filter()
        for name, option, given in (
            ("any", "--with", self.any),
            ("all", "--with-all", self.all),
            ("none", "--without", self.none),
        ):
            for column, value in _pairs(option, given or ()):
                getattr(getattr(made, column), name).append(value)
        with _takes("--years", self.years, "MIN:MAX, as in 2000:2010 or 2000:"):
            made.years.MergeFrom(_range(self.years))
        with _takes("--episodes", self.episodes, "MIN:MAX, as in 12:26 or :26"):
            made.episodes.MergeFrom(_range(self.episodes))
        with _takes("--without-ids", self.without_ids, "ids, as in 1,5,6"):
            made.without_ids.extend(_ids(self.without_ids))
        with _takes("--only-ids", self.only_ids, "ids, as in 1,5,6"):
            if self.only_ids is not None:
                made.only_ids.CopyFrom(AnimeIds(ids=_ids(self.only_ids)))
        return made


def _pairs(option: str, given: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in given:
        column, equals, value = text.partition("=")
        if not equals or column not in _COLUMNS:
            raise typer.BadParameter(
                f"{option} {text}: should be COLUMN=VALUE, of a column of {', '.join(_COLUMNS)}"
            )
        yield column, value


@contextmanager
def _takes(option: str, given: str | None, right: str) -> Iterator[None]:
    """Say what an option takes where its text cannot be read."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(f"{option} {given}: {error}; takes {right}") from None


def _range(text: str | None) -> "RangeFilter":
    from anirank.contract.ranking_pb2 import RangeFilter

    low, colon, high = (text or ":").partition(":")
    high = high if colon else low
    return RangeFilter(min=int(low) if low else None, max=int(high) if high else None)


def _ids(text: str | None) -> list[int]:
    return [int(each) for each in text.split(",")] if text else []
