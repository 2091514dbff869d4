"""A person's own list, as MyAnimeList exports it: XML, or gzip of it.

    own = read_mal_export(Path("animelist.xml.gz").read_bytes(), "animelist.xml.gz")
    own.history(most=2_000)

The file comes from anybody: both sizes of it are bounded, and it may have no DTD, no entity and
nothing nested deeper than a list has. Nothing is kept of it but the entries.
"""

import gzip
import io
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn
from xml.parsers.expat import ErrorString, ExpatError

from anirank.errors import MalExportError, naming_the_extra, quoted

# Bytes of a file, and of what is packed in it: the whole catalogue, an entry of 900 bytes for each
# anime, is 22 MB, and packed a tenth of that.
MOST_PACKED, MOST_BYTES = 8 * 1024 * 1024, 32 * 1024 * 1024
MOST_ELEMENTS = 750_000  # of which an entry has 23

# Nothing in a list has an attribute, and what one tag may have of them is made into objects before
# it can be refused. Text as long, without a tag or CDATA, is in no list either.
_LONG_TAG, _MOST_ATTRIBUTES = re.compile(rb"<[^!?<][^<]{65536}"), 16

_GZIP = b"\x1f\x8b"
_ROOT, _ENTRY, _ENTRY_OF_MANGA = "myanimelist", "anime", "manga"
_ID, _SCORE, _STATUS, _TIMES = "series_animedb_id", "my_score", "my_status", "my_times_watched"
_FIELDS = (_ID, _SCORE, _STATUS, _TIMES)
_DEPTH = 3  # root, entry, field
_WHOLE, _DECIMAL = re.compile("[0-9]{1,9}"), re.compile("[0-9]{1,2}([.][0-9]{1,9})?")
# expat's errors of a document that ends too early: no element, an unclosed token, a part of a
# character, an unclosed CDATA section.
_CUT_OFF = (3, 5, 6, 20)


class Status(StrEnum):
    """How far the person is with an anime, as the file spells it."""

    WATCHING = "Watching"
    COMPLETED = "Completed"
    ON_HOLD = "On-Hold"
    DROPPED = "Dropped"
    PLANNED = "Plan to Watch"


class Entry(NamedTuple):
    """An anime of a list. score: 1 to 10, None = not rated. times: watched again so many times."""

    anime_id: int
    status: Status
    score: float | None
    times: int


@dataclass(frozen=True, slots=True)
class MalExport:
    """The anime of a list, each once, in the order of the file."""

    entries: tuple[Entry, ...]

    @property
    def watched(self) -> list[Entry]:
        """Those that were begun at least: all but the planned."""
        return [entry for entry in self.entries if entry.status is not Status.PLANNED]

    def history(self, most: int) -> dict[int, float | None]:
        """The rating by the id of what was watched; of more than `most`, those that tell most.

        These are the rated before the others, and of the rated those farthest from the person's own
        mean; then what was completed, what was watched again most often, and the lowest id.
        """
        watched = self.watched
        if len(watched) > most:
            scores = [entry.score for entry in watched if entry.score is not None]
            mean = sum(scores) / max(len(scores), 1)
            watched = sorted(watched, key=lambda entry: _rank(entry, mean))[:most]
        return {entry.anime_id: entry.score for entry in watched}


def read_mal_export(content: bytes, name: str) -> MalExport:
    """The list in the bytes of an exported file, plain or gzip; `name` is what errors call it.

    Of the largest that is read it takes some seconds, and three times the room of its XML.
    Raises MalExportError where they are no such file, or a larger one; ExtraMissing without
    defusedxml.
    """
    with naming_the_extra("mal"):
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import XMLParser
    # Of the parser that refuses, expat itself: what ElementTree puts around it takes ten times as
    # long. All at once, as expat begins anew with what a piece leaves open.
    expat = XMLParser(encoding="utf-8", forbid_dtd=True).parser
    entries = _Entries(expat, name)
    try:
        expat.Parse(_unpacked(content, name), True)
    except ExpatError as error:
        if error.code in _CUT_OFF:
            raise MalExportError(f"{name}: ends in the middle, on line {error.lineno}") from error
        raise MalExportError(
            f"{name}, line {error.lineno}, column {error.offset}: is not XML "
            f"({ErrorString(error.code)}), should be a list that MyAnimeList exported"
        ) from error
    except DefusedXmlException as error:
        raise MalExportError(
            f"{name}: declares a document type or entities, which no list of MyAnimeList does"
        ) from error
    return MalExport(tuple(entries.found.values()))


class _Entries:
    """Takes what expat tells of the elements; `found`: by id, the first of each."""

    def __init__(self, expat: Any, name: str) -> None:
        self.found: dict[int, Entry] = {}
        self._expat, self._name = expat, name
        self._depth = self._elements = self._count = 0
        self._entry: dict[str, str] | None = None
        self._text: list[str] | None = None
        expat.StartElementHandler, expat.EndElementHandler = self._start, self._end
        expat.CharacterDataHandler = expat.CommentHandler = None
        expat.ProcessingInstructionHandler = expat.DefaultHandlerExpand = None

    def _start(self, tag: str, attributes: Sequence[str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._elements > MOST_ELEMENTS:
            self._refuse(f"has more than {MOST_ELEMENTS:,} elements")
        if len(attributes) > _MOST_ATTRIBUTES:  # names and values
            self._refuse(f"{quoted(tag)} has {len(attributes) // 2} attributes, should have none")
        if self._depth == 1 and tag != _ROOT:
            self._refuse(f"is {quoted(tag)}, should be {_ROOT!r}, a list of MyAnimeList")
        if self._depth > _DEPTH:
            self._refuse(f"{quoted(tag)} is nested deeper than anything in a list of MyAnimeList")
        if self._depth == 2:
            self._begin_entry(tag)
        elif self._entry is not None and tag in _FIELDS:
            self._text = []
            self._expat.CharacterDataHandler = self._text.append

    def _end(self, tag: str) -> None:
        if self._text is not None and self._entry is not None:
            self._entry[tag] = "".join(self._text).strip()
            self._text = self._expat.CharacterDataHandler = None
        elif self._depth == 2 and self._entry is not None:
            entry = self._read(self._entry)
            self.found.setdefault(entry.anime_id, entry)
            self._entry = None
        self._depth -= 1

    def _begin_entry(self, tag: str) -> None:
        if tag == _ENTRY_OF_MANGA:
            self._refuse("is a list of manga, should be one of anime")
        if tag == _ENTRY:
            self._entry = {}
            self._count += 1

    def _read(self, fields: Mapping[str, str]) -> Entry:
        number, score = fields.get(_ID, ""), fields.get(_SCORE, "0")
        status, times = fields.get(_STATUS, ""), fields.get(_TIMES, "0")
        if not _WHOLE.fullmatch(number) or not int(number):
            self._refuse(f"{_ID} of entry {self._count} is {quoted(number)}, should be an id")
        if not _DECIMAL.fullmatch(score) or not (float(score) == 0 or 1 <= float(score) <= 10):
            self._refuse(
                f"{_SCORE} of anime {number} is {quoted(score)}, should be 1 to 10, or 0 for none"
            )
        if status not in [*Status]:
            self._refuse(
                f"{_STATUS} of anime {number} is {quoted(status)}, should be one of "
                f"{', '.join(Status)}"
            )
        if not _WHOLE.fullmatch(times):
            self._refuse(f"{_TIMES} of anime {number} is {quoted(times)}, should be a count")
        return Entry(int(number), Status(status), float(score) or None, int(times))

    def _refuse(self, reason: str) -> NoReturn:
        raise MalExportError(f"{self._name}: {reason}")


def _unpacked(content: bytes, name: str) -> bytes:
    """The XML."""
    if not content:
        raise MalExportError(f"{name}: is empty, should be a list that MyAnimeList exported")
    if content.startswith(_GZIP):
        if len(content) > MOST_PACKED:
            raise MalExportError(f"{name}: has more than {MOST_PACKED >> 20} MiB of gzip")
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                content = file.read(MOST_BYTES + 1)
        except EOFError as error:
            raise MalExportError(f"{name}: ends in the middle of its gzip") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise MalExportError(f"{name}: is damaged gzip ({error})") from error
    if len(content) > MOST_BYTES:
        raise MalExportError(f"{name}: has more than {MOST_BYTES >> 20} MiB of XML")
    if b"\0" in content:  # as of UTF-16, which expat knows whatever it is told
        raise MalExportError(f"{name}: is not text in UTF-8, as MyAnimeList writes it")
    if _LONG_TAG.search(content):
        raise MalExportError(f"{name}: has a tag longer than any in a list of MyAnimeList")
    return content


def _rank(entry: Entry, mean: float) -> tuple[float, bool, int, int]:
    told = -1.0 if entry.score is None else abs(entry.score - mean)
    return (-told, entry.status is not Status.COMPLETED, -entry.times, entry.anime_id)
