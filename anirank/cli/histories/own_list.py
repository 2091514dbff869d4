"""The option `--mal-export`: a person's own list in place of a history."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anirank.errors import MalExportError

if TYPE_CHECKING:
    from anirank.contract.ranking_pb2 import RankRequest, RecommendRequest
    from handlers.forms.mal_export import MalExport

MalExportFile = Annotated[
    Path | None,
    typer.Option(
        "--mal-export",
        metavar="FILE",
        help="What the user has watched, as MyAnimeList exports their list: animelist.xml, or .gz "
        "of it. In place of --history.",
    ),
]


class OwnList:
    """A list from a file, of which a request takes what it may hold."""

    def __init__(self, file: Path) -> None:
        """Read a file; raises MalExportError where it is no list, or nothing of it was watched."""
        self._file = file
        self._list = _read(file)
        if not self._list.watched:
            raise MalExportError(
                f"{file}: has {len(self._list.entries)} anime, of which none was watched"
            )

    def add_to(self, request: "RankRequest | RecommendRequest", most: int) -> str:
        """Make it the history of a request, of up to `most`; what there is to say of it."""
        from anirank.contract.ranking_pb2 import HistoryItem

        watched = self._list.watched
        history = self._list.history(most)
        request.history.extend(
            HistoryItem(anime_id=anime, rating=rating) for anime, rating in history.items()
        )
        rated = sum(entry.score is not None for entry in watched)
        planned = len(self._list.entries) - len(watched)
        said = f"{self._file}: {len(watched):,} anime watched, {rated:,} of them rated"
        said += f"; {planned:,} planned, which are not used" if planned else ""
        if len(history) < len(watched):
            said += (
                f"\na history holds {most:,}: of these the rated first, farthest from the mean of "
                "all first of them"
            )
        return said


def _read(file: Path) -> "MalExport":
    from bundles.files import open_regular
    from handlers.forms.mal_export import MOST_BYTES, read_mal_export

    try:
        with open_regular(file) as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise MalExportError(f"{file}: cannot be read ({error.strerror})") from error
    return read_mal_export(content, str(file))
