"""Large CSV files, read in blocks of whole lines and checked while they are read."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from anirank.errors import DataError

BLOCK_BYTES = 8 << 20  # large enough to parse at full speed, small enough to hold several
LONGEST_ROW = 1 << 20  # bytes; a hundred times the dump's longest
_NEWLINE, _QUOTE = b"\n", b'"'


@dataclass(frozen=True)
class Block:
    """Whole records of a CSV file: their bytes, and the number of the first line (from 1)."""

    text: bytes
    first_line: int

    def lines(self, records: Sequence[int]) -> list[int]:
        """The line on which each record (0 is the block's first) begins; blanks are no records."""
        if not records:
            return []
        wanted, found = set(records), {}
        record, in_quotes = -1, False
        for line, text in enumerate(io.BytesIO(self.text), self.first_line):
            if not in_quotes and text.strip(b"\r\n"):
                record += 1
                if record in wanted:
                    found[record] = line
                    if len(found) == len(wanted):
                        break
            in_quotes ^= bool(text.count(_QUOTE) & 1)
        return [found.get(record, self.first_line) for record in records]


@dataclass(frozen=True)
class Malformed:
    """A record with too few or too many fields."""

    record: int  # place in its block
    fields: int
    lines: int  # more than one where a quote is never closed


@dataclass(frozen=True)
class Piece:
    """A parsed block: the wanted columns of its well-formed records, and the others."""

    block: Block
    table: pa.Table
    malformed: list[Malformed]

    def lines(self, rows: Sequence[int]) -> list[int]:
        """The line in the file on which each row of ``table`` begins."""
        skipped = np.array([fault.record for fault in self.malformed], dtype=np.int64)
        before = np.searchsorted(skipped - np.arange(len(skipped)), rows, side="right")
        return self.block.lines([int(record) for record in np.asarray(rows) + before])

    def malformed_lines(self, most: int) -> list[tuple[int, int]]:
        """Row and number of fields of the first ``most`` malformed records."""
        first = self.malformed[:most]
        lines = self.block.lines([fault.record for fault in first])
        return [(line, fault.fields) for line, fault in zip(lines, first, strict=True)]


@dataclass
class CsvFile:
    """A CSV file with a header line, in UTF-8, with or without a byte order mark.

    ``columns``: the wanted columns and their types; others are skipped, and the order is free.
    ``longest_row``: bytes that a row may have, its line end included. A quote that is never closed
    makes one row of all that follows, and is told by that.
    ``width``: the number of fields in a record; ``sha256``: of the bytes read so far.
    """

    path: Path
    columns: Mapping[str, pa.DataType]
    block_bytes: int = BLOCK_BYTES
    longest_row: int = LONGEST_ROW
    width: int = field(default=0, init=False)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256, init=False, repr=False)

    def pieces(self) -> Iterator[Piece]:
        """Parse the file block by block, in its order.

        A block whose values do not fit the wanted types comes back with texts in place of them.
        DataError if the file is missing or empty, lacks a column, has a row that is too long, or is
        not UTF-8.
        """
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file")
        try:
            with self.path.open("rb") as stream:
                names = self._header(stream)
                yield from self._parsed(stream, names)
        except OSError as fault:
            raise DataError(f"{self.path}: cannot be read: {fault.strerror or fault}") from fault

    def _header(self, stream: IO[bytes]) -> list[str]:
        line = stream.readline(self.longest_row + 1)
        if len(line) > self.longest_row:
            raise self._too_long(1)
        self.sha256.update(line)
        if not line:
            raise DataError(f"{self.path.name}: the file is empty; a header was expected")
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as fault:
            raise DataError(f"{self.path.name}, line 1: not UTF-8: {fault.reason}") from fault
        try:
            names = [name.strip() for name in next(csv.reader([text.rstrip("\r\n")]), [])]
        except csv.Error as fault:  # a name of more than 128 KiB
            raise DataError(f"{self.path.name}, line 1: not readable as CSV: {fault}") from fault
        for wanted in self.columns:
            if wanted not in names:
                found = ", ".join(name for name in names if name)[:200] or "a blank line"
                raise DataError(f"{self.path.name}: no column '{wanted}'; found {found}")
            if names.count(wanted) > 1:
                raise DataError(f"{self.path.name}: column '{wanted}' occurs more than once")
        self.width = len(names)
        return names

    def _parsed(self, stream: IO[bytes], names: list[str]) -> Iterator[Piece]:
        workers = min(4, os.cpu_count() or 1)
        waiting: deque[Future[Piece]] = deque()
        records = 0
        with ThreadPoolExecutor(workers, thread_name_prefix="csv") as pool:
            for block in self._blocks(stream):
                waiting.append(pool.submit(self._parse, block, names))
                if len(waiting) > workers:
                    piece = waiting.popleft().result()
                    records += piece.table.num_rows + len(piece.malformed)
                    yield piece
            while waiting:
                piece = waiting.popleft().result()
                records += piece.table.num_rows + len(piece.malformed)
                yield piece
        if not records:
            raise DataError(f"{self.path.name}: no rows after the header")

    def _blocks(self, stream: IO[bytes]) -> Iterator[Block]:
        first_line, rest = 2, b""
        while chunk := stream.read(self.block_bytes):
            self.sha256.update(chunk)
            text = rest + chunk
            cut = self._end_of_rows(text)
            rest = text[cut:]
            if cut:
                yield Block(text[:cut], first_line)
                newlines = np.frombuffer(text, np.uint8, cut) == ord(_NEWLINE)
                first_line += int(np.count_nonzero(newlines))
            if len(rest) > self.longest_row:
                raise self._too_long(first_line)
        if rest.count(_QUOTE) % 2:
            raise DataError(f"{self.path.name}, line {first_line}: a quote is never closed")
        if rest:
            yield Block(rest, first_line)

    def _end_of_rows(self, text: bytes) -> int:
        """Where the last whole row of ``text`` ends, of those before one that is too long."""
        end, step = 0, self.longest_row
        # Row by row would be slow; a window of the longest row holds the end of one at least.
        while (further := _end_of_records(text, end, end + step)) > end:
            end = further
        return end

    def _too_long(self, line: int) -> DataError:
        return DataError(
            f"{self.path.name}, line {line}: a row of more than {self.longest_row:,} bytes; is a "
            "quote never closed? `anirank prepare --longest-row` takes longer ones"
        )

    def _parse(self, block: Block, names: list[str]) -> Piece:
        self._check_encoding(block)
        try:
            return self._convert(block, names, dict(self.columns))
        except pa.ArrowInvalid:
            texts = dict.fromkeys(self.columns, pa.string())
        try:
            return self._convert(block, names, texts)
        except pa.ArrowInvalid as fault:
            where = f"{self.path.name}, from line {block.first_line}"
            raise DataError(
                f"{where}: not readable as CSV: {str(fault).splitlines()[0]}"
            ) from fault

    def _check_encoding(self, block: Block) -> None:
        try:
            # Arrow checks only the columns it converts, and promises must hold for all.
            ends = pa.array([0, len(block.text)], pa.int64()).buffers()[1]
            text = pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(block.text))
            text.validate(full=True)
        except pa.ArrowInvalid:
            try:
                block.text.decode("utf-8")
            except UnicodeDecodeError as fault:
                line = block.first_line + block.text.count(_NEWLINE, 0, fault.start)
                where = f"{self.path.name}, line {line}"
                raise DataError(f"{where}: not UTF-8: {fault.reason}") from fault

    def _convert(self, block: Block, names: list[str], types: dict[str, pa.DataType]) -> Piece:
        malformed: list[Malformed] = []

        def skip(row: pa.csv.InvalidRow) -> str:
            lines = row.text.count("\n") + 1
            malformed.append(Malformed(row.number - 1, row.actual_columns, lines))
            return "skip"

        table = pa.csv.read_csv(
            pa.BufferReader(block.text),
            # One thread and one block of Arrow's: records are numbered, and blocks run in parallel.
            pa.csv.ReadOptions(
                use_threads=False, block_size=len(block.text) + 1, column_names=names
            ),
            pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            pa.csv.ConvertOptions(
                include_columns=list(types),
                column_types=types,
                null_values=[],
                strings_can_be_null=False,
            ),
        )
        return Piece(block, table, malformed)


def _end_of_records(text: bytes, start: int, stop: int) -> int:
    """Where the last whole record of ``text[start:stop]`` ends; ``start`` if none does."""
    end = max(start, text.rfind(_NEWLINE, start, stop) + 1)
    quotes = text.count(_QUOTE, start, end)
    # A newline after an odd number of quotes stands inside of a value.
    while quotes % 2:
        earlier = max(start, text.rfind(_NEWLINE, start, end - 1) + 1)
        quotes -= text.count(_QUOTE, earlier, end)
        end = earlier
    return end


@dataclass(frozen=True)
class Sheet:
    """All pieces of a small file as one table of texts."""

    file: CsvFile
    table: pa.Table
    pieces: list[Piece]

    @classmethod
    def read(cls, path: Path, columns: Sequence[str], longest_row: int = LONGEST_ROW) -> Sheet:
        """Read the wanted columns as texts; DataError as in ``CsvFile.pieces``."""
        file = CsvFile(path, dict.fromkeys(columns, pa.string()), longest_row=longest_row)
        pieces = list(file.pieces())
        return cls(file, pa.concat_tables([piece.table for piece in pieces]), pieces)

    def lines(self, rows: npt.NDArray[np.int64]) -> list[int]:
        """The line in the file on which each row of ``table`` begins."""
        ends = np.cumsum([piece.table.num_rows for piece in self.pieces])
        found = []
        for row in rows:
            place = int(np.searchsorted(ends, row, side="right"))
            first = int(ends[place]) - self.pieces[place].table.num_rows
            found += self.pieces[place].lines([int(row) - first])
        return found
