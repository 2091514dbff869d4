"""The options of a filter, and the message they make."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anirank.contract.ranking_pb2 import Filter

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

    any: list[str] | None = None
    all: list[str] | None = None
    none: list[str] | None = None
    years: str | None = None
    episodes: str | None = None
    without_ids: str | None = None
    only_ids: str | None = None

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
        for name in ("years", "episodes"):
            for end, number in _ends(name, getattr(self, name)):
                setattr(getattr(made, name), end, number)
        made.without_ids.extend(_ids("--without-ids", self.without_ids))
        if self.only_ids is not None:
            made.only_ids.CopyFrom(AnimeIds(ids=_ids("--only-ids", self.only_ids)))
        return made


def _pairs(option: str, given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for text in given:
        column, equals, value = text.partition("=")
        if not equals or column not in _COLUMNS:
            raise typer.BadParameter(
                f"{option} {text}: should be COLUMN=VALUE, of a column of {', '.join(_COLUMNS)}"
            )
        yield column, value


def _ends(name: str, text: str | None) -> Iterable[tuple[str, int]]:
    if text is None:
        return
    low, colon, high = text.partition(":")
    try:
        ends: dict[str, Any] = {"min": low, "max": high if colon else low}
        yield from [(end, int(number)) for end, number in ends.items() if number]
    except ValueError:
        raise typer.BadParameter(
            f"--{name} {text}: should be MIN:MAX, MIN:, :MAX or a number"
        ) from None


def _ids(option: str, text: str | None) -> list[int]:
    try:
        return [int(each) for each in text.split(",")] if text else []
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text}: {error}; takes ids as in 1,5,6") from None
