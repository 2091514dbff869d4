"""The messages that a client sends, made from plain Python values."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, Unpack

from google.protobuf.duration_pb2 import Duration

from anirank.contract import ranking_pb2 as pb

Objective = Literal["BLENDED", "RATING", "AFFINITY"]
Request = pb.RankRequest | pb.RecommendRequest
Likeness = Literal["CROSSES", "VECTORS", "BOTH"]


class ValueOptions(TypedDict, total=False):
    """The values of a column: an anime has one of `any`, all of `all` and none of `none`."""

    any: Iterable[str]
    all: Iterable[str]
    none: Iterable[str]


class RangeOptions(TypedDict, total=False):
    """From one whole number to another, both included; an end that is left out is open."""

    min: int
    max: int


class FilterOptions(TypedDict, total=False):
    """Which anime may be answered, as `Filter` of the contract says; all may be left out.

    {"genres": {"any": ["Action"], "none": ["Ecchi"]}, "years": {"min": 2000}}

    genres, types, studios, sources, age_ratings: values of that column. years, episodes: in which
    it was on the air, and how many there are. without_ids, only_ids: MyAnimeList ids, none of these
    and only these.
    """

    genres: ValueOptions
    types: ValueOptions
    studios: ValueOptions
    sources: ValueOptions
    age_ratings: ValueOptions
    years: RangeOptions
    episodes: RangeOptions
    without_ids: Iterable[int]
    only_ids: Iterable[int] | None


class RankOptions(TypedDict, total=False):
    """What goes with the candidates of a request; all of it may be left out.

    user_id: MyAnimeList id. history: rating by anime id, None = watched, not rated. profile: number
    or category by name. top_k: how many to answer, 0 for all. objective: what the order is by.
    explain: say of each what its wide score comes from. filter: which anime may be answered.
    """

    user_id: int | None
    history: Mapping[int, float | None] | None
    profile: Mapping[str, float | str] | None
    top_k: int
    objective: Objective
    explain: bool
    filter: FilterOptions | None


class RecommendOptions(RankOptions, total=False):
    """What a recommendation is asked for with: as `RankOptions`, and top_k 0 answers ten.

    include_seen, include_adult: keep what the user has watched, what is adult. diversity: 0 to 1,
    how much anime that are alike are kept out of one list.
    """

    include_seen: bool
    include_adult: bool
    diversity: float


class SimilarOptions(TypedDict, total=False):
    """What goes with the anime that others are to be like; all of it may be left out.

    top_k: how many to answer, 0 for ten. likeness: by what, the model's own choice if it is not
    given. include_adult: keep what is adult. filter: which anime may be answered.
    """

    top_k: int
    likeness: Likeness
    include_adult: bool
    filter: FilterOptions | None


def rank_request(candidate_ids: Iterable[int], **options: Unpack[RankOptions]) -> pb.RankRequest:
    """A request to order the candidates."""
    return pb.RankRequest(candidate_ids=candidate_ids, **_fields(options))


def recommend_request(**options: Unpack[RecommendOptions]) -> pb.RecommendRequest:
    """A request to choose from the whole catalogue."""
    return pb.RecommendRequest(**_fields(options))


def similar_request(
    anime_ids: Iterable[int], **options: Unpack[SimilarOptions]
) -> pb.SimilarRequest:
    """A request for what is like some anime."""
    fields: dict[str, Any] = {**options, "filter": _filter(options.get("filter"))}
    fields["likeness"] = f"LIKENESS_{options.get('likeness', 'UNSPECIFIED')}"
    return pb.SimilarRequest(anime_ids=anime_ids, **fields)


def record_request(
    user_id: int, items: Mapping[int, float | None], request_id: str | None = None
) -> pb.RecordWatchedRequest:
    """A request to record what a user has watched: rating by anime id, None = not rated.

    request_id: under which it counts once, however often it is sent; a new one unless given.
    """
    return pb.RecordWatchedRequest(
        user_id=user_id,
        items=[pb.HistoryItem(anime_id=key, rating=rating) for key, rating in items.items()],
        request_id=uuid.uuid4().hex if request_id is None else request_id,
    )


def stream_request(place: int, request: Request, timeout_s: float) -> pb.RankStreamRequest:
    """One message of a stream: its answer comes back under the id `place`."""
    timeout = Duration()
    timeout.FromNanoseconds(int(timeout_s * 1e9))
    return pb.RankStreamRequest(
        id=place,
        timeout=timeout,
        rank=request if isinstance(request, pb.RankRequest) else None,
        recommend=request if isinstance(request, pb.RecommendRequest) else None,
    )


def _fields(options: RankOptions | RecommendOptions) -> dict[str, Any]:
    history, profile = options.get("history") or {}, options.get("profile") or {}
    return {
        **options,
        "history": [pb.HistoryItem(anime_id=key, rating=rating) for key, rating in history.items()],
        "profile": pb.Profile(
            numbers={key: value for key, value in profile.items() if not isinstance(value, str)},
            categories={key: value for key, value in profile.items() if isinstance(value, str)},
        ),
        "objective": f"OBJECTIVE_{options.get('objective', 'BLENDED')}",
        "filter": _filter(options.get("filter")),
    }


def _filter(asked: FilterOptions | None) -> pb.Filter | None:
    if asked is None:
        return None
    fields: dict[str, Any] = {**asked}
    if (only := fields.pop("only_ids", None)) is not None:
        fields["only_ids"] = pb.AnimeIds(ids=only)
    return pb.Filter(**fields)
