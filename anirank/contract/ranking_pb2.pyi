import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Objective(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBJECTIVE_UNSPECIFIED: _ClassVar[Objective]
    OBJECTIVE_RATING: _ClassVar[Objective]
    OBJECTIVE_AFFINITY: _ClassVar[Objective]
    OBJECTIVE_BLENDED: _ClassVar[Objective]

class Familiarity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAMILIARITY_UNSPECIFIED: _ClassVar[Familiarity]
    FAMILIARITY_KNOWN: _ClassVar[Familiarity]
    FAMILIARITY_NEW_WITH_HISTORY: _ClassVar[Familiarity]
    FAMILIARITY_NEW: _ClassVar[Familiarity]

class LiveHistory(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIVE_HISTORY_UNSPECIFIED: _ClassVar[LiveHistory]
    LIVE_HISTORY_NONE: _ClassVar[LiveHistory]
    LIVE_HISTORY_COUNTED: _ClassVar[LiveHistory]
    LIVE_HISTORY_UNAVAILABLE: _ClassVar[LiveHistory]

class Likeness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIKENESS_UNSPECIFIED: _ClassVar[Likeness]
    LIKENESS_CROSSES: _ClassVar[Likeness]
    LIKENESS_VECTORS: _ClassVar[Likeness]
    LIKENESS_BOTH: _ClassVar[Likeness]
OBJECTIVE_UNSPECIFIED: Objective
OBJECTIVE_RATING: Objective
OBJECTIVE_AFFINITY: Objective
OBJECTIVE_BLENDED: Objective
FAMILIARITY_UNSPECIFIED: Familiarity
FAMILIARITY_KNOWN: Familiarity
FAMILIARITY_NEW_WITH_HISTORY: Familiarity
FAMILIARITY_NEW: Familiarity
LIVE_HISTORY_UNSPECIFIED: LiveHistory
LIVE_HISTORY_NONE: LiveHistory
LIVE_HISTORY_COUNTED: LiveHistory
LIVE_HISTORY_UNAVAILABLE: LiveHistory
LIKENESS_UNSPECIFIED: Likeness
LIKENESS_CROSSES: Likeness
LIKENESS_VECTORS: Likeness
LIKENESS_BOTH: Likeness

class HistoryItem(_message.Message):
    __slots__ = ("anime_id", "rating")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    rating: float
    def __init__(self, anime_id: _Optional[int] = ..., rating: _Optional[float] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("numbers", "categories")
    class NumbersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class CategoriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.ScalarMap[str, float]
    categories: _containers.ScalarMap[str, str]
    def __init__(self, numbers: _Optional[_Mapping[str, float]] = ..., categories: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ValueFilter(_message.Message):
    __slots__ = ("any", "all", "none")
    ANY_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    any: _containers.RepeatedScalarFieldContainer[str]
    all: _containers.RepeatedScalarFieldContainer[str]
    none: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, any: _Optional[_Iterable[str]] = ..., all: _Optional[_Iterable[str]] = ..., none: _Optional[_Iterable[str]] = ...) -> None: ...

class RangeFilter(_message.Message):
    __slots__ = ("min", "max")
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    min: int
    max: int
    def __init__(self, min: _Optional[int] = ..., max: _Optional[int] = ...) -> None: ...

class AnimeIds(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("genres", "types", "studios", "sources", "age_ratings", "years", "episodes", "without_ids", "only_ids")
    GENRES_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    STUDIOS_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    AGE_RATINGS_FIELD_NUMBER: _ClassVar[int]
    YEARS_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_IDS_FIELD_NUMBER: _ClassVar[int]
    ONLY_IDS_FIELD_NUMBER: _ClassVar[int]
    genres: ValueFilter
    types: ValueFilter
    studios: ValueFilter
    sources: ValueFilter
    age_ratings: ValueFilter
    years: RangeFilter
    episodes: RangeFilter
    without_ids: _containers.RepeatedScalarFieldContainer[int]
    only_ids: AnimeIds
    def __init__(self, genres: _Optional[_Union[ValueFilter, _Mapping]] = ..., types: _Optional[_Union[ValueFilter, _Mapping]] = ..., studios: _Optional[_Union[ValueFilter, _Mapping]] = ..., sources: _Optional[_Union[ValueFilter, _Mapping]] = ..., age_ratings: _Optional[_Union[ValueFilter, _Mapping]] = ..., years: _Optional[_Union[RangeFilter, _Mapping]] = ..., episodes: _Optional[_Union[RangeFilter, _Mapping]] = ..., without_ids: _Optional[_Iterable[int]] = ..., only_ids: _Optional[_Union[AnimeIds, _Mapping]] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("user_id", "history", "profile", "candidate_ids", "top_k", "objective", "explain", "model_version", "filter")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    history: _containers.RepeatedCompositeFieldContainer[HistoryItem]
    profile: Profile
    candidate_ids: _containers.RepeatedScalarFieldContainer[int]
    top_k: int
    objective: Objective
    explain: bool
    model_version: str
    filter: Filter
    def __init__(self, user_id: _Optional[int] = ..., history: _Optional[_Iterable[_Union[HistoryItem, _Mapping]]] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ..., candidate_ids: _Optional[_Iterable[int]] = ..., top_k: _Optional[int] = ..., objective: _Optional[_Union[Objective, str]] = ..., explain: _Optional[bool] = ..., model_version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("user_id", "history", "profile", "top_k", "objective", "include_seen", "include_adult", "explain", "model_version", "filter", "diversity")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_SEEN_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ADULT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    DIVERSITY_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    history: _containers.RepeatedCompositeFieldContainer[HistoryItem]
    profile: Profile
    top_k: int
    objective: Objective
    include_seen: bool
    include_adult: bool
    explain: bool
    model_version: str
    filter: Filter
    diversity: float
    def __init__(self, user_id: _Optional[int] = ..., history: _Optional[_Iterable[_Union[HistoryItem, _Mapping]]] = ..., profile: _Optional[_Union[Profile, _Mapping]] = ..., top_k: _Optional[int] = ..., objective: _Optional[_Union[Objective, str]] = ..., include_seen: _Optional[bool] = ..., include_adult: _Optional[bool] = ..., explain: _Optional[bool] = ..., model_version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ..., diversity: _Optional[float] = ...) -> None: ...

class RankStreamRequest(_message.Message):
    __slots__ = ("id", "rank", "recommend", "timeout")
    ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    RECOMMEND_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    id: int
    rank: RankRequest
    recommend: RecommendRequest
    timeout: _duration_pb2.Duration
    def __init__(self, id: _Optional[int] = ..., rank: _Optional[_Union[RankRequest, _Mapping]] = ..., recommend: _Optional[_Union[RecommendRequest, _Mapping]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class RankStreamReply(_message.Message):
    __slots__ = ("id", "reply", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: int
    reply: RankReply
    status: Status
    def __init__(self, id: _Optional[int] = ..., reply: _Optional[_Union[RankReply, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class WatchedAnime(_message.Message):
    __slots__ = ("anime_id", "title", "rating")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    title: str
    rating: float
    def __init__(self, anime_id: _Optional[int] = ..., title: _Optional[str] = ..., rating: _Optional[float] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("anime", "genre", "contribution")
    ANIME_FIELD_NUMBER: _ClassVar[int]
    GENRE_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    anime: WatchedAnime
    genre: str
    contribution: float
    def __init__(self, anime: _Optional[_Union[WatchedAnime, _Mapping]] = ..., genre: _Optional[str] = ..., contribution: _Optional[float] = ...) -> None: ...

class RankedAnime(_message.Message):
    __slots__ = ("anime_id", "title", "genres", "score", "rating", "affinity", "wide", "reasons", "rest")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    GENRES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_FIELD_NUMBER: _ClassVar[int]
    WIDE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    title: str
    genres: str
    score: float
    rating: float
    affinity: float
    wide: float
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    rest: float
    def __init__(self, anime_id: _Optional[int] = ..., title: _Optional[str] = ..., genres: _Optional[str] = ..., score: _Optional[float] = ..., rating: _Optional[float] = ..., affinity: _Optional[float] = ..., wide: _Optional[float] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., rest: _Optional[float] = ...) -> None: ...

class RankReply(_message.Message):
    __slots__ = ("ranking", "unknown_candidates", "familiarity", "model_version", "queue_time", "compute_time", "unknown_history", "history_size", "live_history")
    RANKING_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    FAMILIARITY_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_HISTORY_FIELD_NUMBER: _ClassVar[int]
    HISTORY_SIZE_FIELD_NUMBER: _ClassVar[int]
    LIVE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    ranking: _containers.RepeatedCompositeFieldContainer[RankedAnime]
    unknown_candidates: _containers.RepeatedScalarFieldContainer[int]
    familiarity: Familiarity
    model_version: str
    queue_time: _duration_pb2.Duration
    compute_time: _duration_pb2.Duration
    unknown_history: _containers.RepeatedScalarFieldContainer[int]
    history_size: int
    live_history: LiveHistory
    def __init__(self, ranking: _Optional[_Iterable[_Union[RankedAnime, _Mapping]]] = ..., unknown_candidates: _Optional[_Iterable[int]] = ..., familiarity: _Optional[_Union[Familiarity, str]] = ..., model_version: _Optional[str] = ..., queue_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., compute_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., unknown_history: _Optional[_Iterable[int]] = ..., history_size: _Optional[int] = ..., live_history: _Optional[_Union[LiveHistory, str]] = ...) -> None: ...

class SimilarRequest(_message.Message):
    __slots__ = ("anime_ids", "top_k", "likeness", "include_adult", "model_version", "filter")
    ANIME_IDS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    LIKENESS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ADULT_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    anime_ids: _containers.RepeatedScalarFieldContainer[int]
    top_k: int
    likeness: Likeness
    include_adult: bool
    model_version: str
    filter: Filter
    def __init__(self, anime_ids: _Optional[_Iterable[int]] = ..., top_k: _Optional[int] = ..., likeness: _Optional[_Union[Likeness, str]] = ..., include_adult: _Optional[bool] = ..., model_version: _Optional[str] = ..., filter: _Optional[_Union[Filter, _Mapping]] = ...) -> None: ...

class WatchedTogether(_message.Message):
    __slots__ = ("anime_id", "title", "weight")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    title: str
    weight: float
    def __init__(self, anime_id: _Optional[int] = ..., title: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class SimilarAnime(_message.Message):
    __slots__ = ("anime_id", "title", "genres", "score", "crosses", "vectors", "shared_genres", "shared_studios", "watched_together")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    GENRES_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    CROSSES_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    SHARED_GENRES_FIELD_NUMBER: _ClassVar[int]
    SHARED_STUDIOS_FIELD_NUMBER: _ClassVar[int]
    WATCHED_TOGETHER_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    title: str
    genres: str
    score: float
    crosses: float
    vectors: float
    shared_genres: _containers.RepeatedScalarFieldContainer[str]
    shared_studios: _containers.RepeatedScalarFieldContainer[str]
    watched_together: _containers.RepeatedCompositeFieldContainer[WatchedTogether]
    def __init__(self, anime_id: _Optional[int] = ..., title: _Optional[str] = ..., genres: _Optional[str] = ..., score: _Optional[float] = ..., crosses: _Optional[float] = ..., vectors: _Optional[float] = ..., shared_genres: _Optional[_Iterable[str]] = ..., shared_studios: _Optional[_Iterable[str]] = ..., watched_together: _Optional[_Iterable[_Union[WatchedTogether, _Mapping]]] = ...) -> None: ...

class SimilarReply(_message.Message):
    __slots__ = ("ranking", "unknown_anime", "likeness", "model_version", "queue_time", "compute_time")
    RANKING_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_ANIME_FIELD_NUMBER: _ClassVar[int]
    LIKENESS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIME_FIELD_NUMBER: _ClassVar[int]
    ranking: _containers.RepeatedCompositeFieldContainer[SimilarAnime]
    unknown_anime: _containers.RepeatedScalarFieldContainer[int]
    likeness: Likeness
    model_version: str
    queue_time: _duration_pb2.Duration
    compute_time: _duration_pb2.Duration
    def __init__(self, ranking: _Optional[_Iterable[_Union[SimilarAnime, _Mapping]]] = ..., unknown_anime: _Optional[_Iterable[int]] = ..., likeness: _Optional[_Union[Likeness, str]] = ..., model_version: _Optional[str] = ..., queue_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., compute_time: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RecordWatchedRequest(_message.Message):
    __slots__ = ("user_id", "items", "request_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    items: _containers.RepeatedCompositeFieldContainer[HistoryItem]
    request_id: str
    def __init__(self, user_id: _Optional[int] = ..., items: _Optional[_Iterable[_Union[HistoryItem, _Mapping]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RecordWatchedReply(_message.Message):
    __slots__ = ("recorded", "repeated")
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    recorded: int
    repeated: bool
    def __init__(self, recorded: _Optional[int] = ..., repeated: _Optional[bool] = ...) -> None: ...

class GetHistoryRequest(_message.Message):
    __slots__ = ("user_id", "model_version")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    model_version: str
    def __init__(self, user_id: _Optional[int] = ..., model_version: _Optional[str] = ...) -> None: ...

class KnownItem(_message.Message):
    __slots__ = ("anime_id", "rating", "recorded_at")
    ANIME_ID_FIELD_NUMBER: _ClassVar[int]
    RATING_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    anime_id: int
    rating: float
    recorded_at: _timestamp_pb2.Timestamp
    def __init__(self, anime_id: _Optional[int] = ..., rating: _Optional[float] = ..., recorded_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetHistoryReply(_message.Message):
    __slots__ = ("items", "live_history", "model_version")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    LIVE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[KnownItem]
    live_history: LiveHistory
    model_version: str
    def __init__(self, items: _Optional[_Iterable[_Union[KnownItem, _Mapping]]] = ..., live_history: _Optional[_Union[LiveHistory, str]] = ..., model_version: _Optional[str] = ...) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    def __init__(self, user_id: _Optional[int] = ...) -> None: ...

class ForgetReply(_message.Message):
    __slots__ = ("removed",)
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    removed: int
    def __init__(self, removed: _Optional[int] = ...) -> None: ...

class GetModelInfoRequest(_message.Message):
    __slots__ = ("model_version",)
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    def __init__(self, model_version: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("candidates", "history", "message_bytes", "queued", "streamed", "filter_values", "filter_ids", "diversified")
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    FILTER_VALUES_FIELD_NUMBER: _ClassVar[int]
    FILTER_IDS_FIELD_NUMBER: _ClassVar[int]
    DIVERSIFIED_FIELD_NUMBER: _ClassVar[int]
    candidates: int
    history: int
    message_bytes: int
    queued: int
    streamed: int
    filter_values: int
    filter_ids: int
    diversified: int
    def __init__(self, candidates: _Optional[int] = ..., history: _Optional[int] = ..., message_bytes: _Optional[int] = ..., queued: _Optional[int] = ..., streamed: _Optional[int] = ..., filter_values: _Optional[int] = ..., filter_ids: _Optional[int] = ..., diversified: _Optional[int] = ...) -> None: ...

class ServedVersion(_message.Message):
    __slots__ = ("version", "weight")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    version: str
    weight: float
    def __init__(self, version: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class ProfileField(_message.Message):
    __slots__ = ("name", "values")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class FilterField(_message.Message):
    __slots__ = ("name", "values", "min", "max")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    name: str
    values: _containers.RepeatedScalarFieldContainer[str]
    min: int
    max: int
    def __init__(self, name: _Optional[str] = ..., values: _Optional[_Iterable[str]] = ..., min: _Optional[int] = ..., max: _Optional[int] = ...) -> None: ...

class ModelInfo(_message.Message):
    __slots__ = ("name", "version", "preset", "label", "backend", "limits", "numbers", "categories", "data_fingerprint", "parity", "metrics", "catalogue_size", "versions", "filters", "likenesses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    DATA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CATALOGUE_SIZE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    LIKENESSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    preset: str
    label: str
    backend: str
    limits: Limits
    numbers: _containers.RepeatedCompositeFieldContainer[ProfileField]
    categories: _containers.RepeatedCompositeFieldContainer[ProfileField]
    data_fingerprint: str
    parity: _struct_pb2.Struct
    metrics: _struct_pb2.Struct
    catalogue_size: int
    versions: _containers.RepeatedCompositeFieldContainer[ServedVersion]
    filters: _containers.RepeatedCompositeFieldContainer[FilterField]
    likenesses: _containers.RepeatedScalarFieldContainer[Likeness]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., preset: _Optional[str] = ..., label: _Optional[str] = ..., backend: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., numbers: _Optional[_Iterable[_Union[ProfileField, _Mapping]]] = ..., categories: _Optional[_Iterable[_Union[ProfileField, _Mapping]]] = ..., data_fingerprint: _Optional[str] = ..., parity: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., metrics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., catalogue_size: _Optional[int] = ..., versions: _Optional[_Iterable[_Union[ServedVersion, _Mapping]]] = ..., filters: _Optional[_Iterable[_Union[FilterField, _Mapping]]] = ..., likenesses: _Optional[_Iterable[_Union[Likeness, str]]] = ...) -> None: ...
