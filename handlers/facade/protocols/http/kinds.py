"""The kinds of requests in JSON: as `handlers.facade.calls.kinds`, and by the same names."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anirank.errors import InvalidQuery, quoted
from handlers.engine.query import Limits
from handlers.facade.batching.batcher import Batcher
from handlers.facade.calls.recording import Recording, RecordingKind
from handlers.facade.versions.roster import ServedVersion
from handlers.forms.json import recording
from handlers.forms.json.body import read_json
from handlers.forms.json.form import read_rank, read_recommend, write_ranking
from handlers.forms.json.similar import read_similar, write_similar
from handlers.forms.json.values import is_integer
from handlers.histories.histories import Histories

VERSION = "model_version"


class JsonRequest(NamedTuple):
    """A request's object, but for the version of the model to ask, empty where it names none."""

    item: object
    model_version: str


class JsonKind(NamedTuple):
    """A kind of request in JSON.

    method: its name. read: makes a query of it, of whose version's limits and profile. line: what
    takes the query. answer: makes an object of the answer.
    """

    method: str
    read: Callable[[object, ServedVersion], Any]
    line: Callable[[ServedVersion], Batcher[Any, Any]]
    answer: Callable[[Any, ServedVersion], dict[str, Any]]

    def parse(self, body: bytes, limits: Limits, _: object) -> tuple[JsonRequest, None]:
        """The request in a body; raises InvalidQuery where it is not JSON."""
        return request_of(read_json(body)), None

    def user(self, request: JsonRequest) -> int | None:
        """Whom a request is for."""
        user = request.item.get("user_id") if isinstance(request.item, dict) else None
        return user if is_integer(user) else None

    def query(self, request: JsonRequest, of: ServedVersion, _: object) -> Any:
        """What a version is asked; raises InvalidQuery."""
        return self.read(request.item, of)

    def batcher(self, of: ServedVersion) -> Batcher[Any, Any]:
        """What takes the query."""
        return self.line(of)

    def write(self, of: ServedVersion, ranking: Any, queue_s: float) -> bytes:
        """The reply."""
        return dumped(self.answer(ranking, of))


RANK = JsonKind(
    "Rank",
    lambda item, of: read_rank(item, of.bundle.manifest.profile, of.limits),
    lambda of: of.batcher,
    lambda ranking, of: write_ranking(ranking, of.bundle),
)
RECOMMEND = JsonKind(
    "Recommend",
    lambda item, of: read_recommend(item, of.bundle.manifest.profile, of.limits),
    RANK.line,
    RANK.answer,
)
SIMILAR = JsonKind(
    "Similar",
    lambda item, of: read_similar(item, of.limits),
    lambda of: of.similar,
    lambda ranking, of: write_similar(ranking, of.bundle),
)


async def _record(of: Recording, histories: Histories, body: bytes) -> bytes:
    watched = recording.read_watched(read_json(body), of.limits)
    return dumped(recording.write_recorded(await histories.record(watched)))


async def _get(of: Recording, histories: Histories, body: bytes) -> bytes:
    user_id, asked = recording.read_user(read_json(body), VERSION)
    version = of.roster.choose(asked[VERSION], user_id)
    history = await histories.history(user_id, version.bundle.histories)
    return dumped(recording.write_history(history, version.name))


async def _forget(_: Recording, histories: Histories, body: bytes) -> bytes:
    user_id, _texts = recording.read_user(read_json(body))
    return dumped(recording.write_forgotten(await histories.forget(user_id)))


RECORD = RecordingKind("RecordWatched", True, _record)
HISTORY = RecordingKind("GetHistory", False, _get)
FORGET = RecordingKind("Forget", True, _forget)


def request_of(item: object) -> JsonRequest:
    """A parsed item as a request; raises InvalidQuery where its version is no text."""
    if not isinstance(item, dict) or VERSION not in item:
        return JsonRequest(item, "")
    version = item[VERSION]
    if not isinstance(version, str):
        raise InvalidQuery(VERSION, f"{quoted(version)} is not text")
    return JsonRequest({key: value for key, value in item.items() if key != VERSION}, version)


def dumped(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8, without spaces."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )
