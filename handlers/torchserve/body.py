"""The body of one request to TorchServe: JSON or the binary form, one item or many."""

import json
from collections.abc import Sequence

from anirank.errors import InvalidQuery, WireError
from bundles.bundle import Bundle
from handlers.engine.query import Limits, Query, Ranking
from handlers.forms import binary
from handlers.forms.json.body import read_json
from handlers.forms.json.form import read_query, write_error, write_ranking

Answers = Sequence[Ranking | InvalidQuery]


class Body:
    """A request's items, in order, each a query or what is wrong with it.

    A JSON object is one item and is answered by an object; a JSON list is many and is answered by a
    list; the binary form is answered in the binary form. A body that is none of these is one item
    that is wrong.
    """

    def __init__(self, content: object, bundle: Bundle, limits: Limits) -> None:
        """Read `content`: bytes, text, or JSON that TorchServe has parsed already.

        limits: those of the engine that the queries go to.
        """
        self._bundle, self._limits = bundle, limits
        self._binary = isinstance(content, bytes | bytearray) and binary.is_binary(content)
        self._many = False
        try:
            self.items = self._read(content)
        except InvalidQuery as error:
            self.items = [error]

    def write(self, answers: Answers) -> bytes:
        """The answers to the items, as the reply's bytes."""
        if self._binary:
            return binary.write_rankings(answers)
        documents = [self._document(answer) for answer in answers]
        return json.dumps(documents if self._many else documents[0]).encode()

    @property
    def content_type(self) -> str:
        """The reply's content type."""
        return "application/octet-stream" if self._binary else "application/json"

    def _read(self, content: object) -> list[Query | InvalidQuery]:
        if isinstance(content, bytes | bytearray | str):
            if self._binary:
                return self._queries(content)
            content = read_json(content)
        if not isinstance(content, list):
            return [self._query(content)]
        if len(content) > binary.LARGEST_BATCH:
            raise InvalidQuery(
                "body", f"{len(content)} items, should be at most {binary.LARGEST_BATCH}"
            )
        self._many = True
        return [self._query(item) for item in content]

    def _queries(self, content: bytes | bytearray | str) -> list[Query | InvalidQuery]:
        assert not isinstance(content, str)
        try:
            return [*binary.read_queries(content)]
        except WireError as error:
            raise InvalidQuery("body", str(error)) from error

    def _query(self, item: object) -> Query | InvalidQuery:
        try:
            return read_query(item, self._bundle.manifest.profile, self._limits)
        except InvalidQuery as error:
            return error

    def _document(self, answer: Ranking | InvalidQuery) -> dict[str, object]:
        if isinstance(answer, InvalidQuery):
            return write_error(answer)
        return write_ranking(answer, self._bundle)
