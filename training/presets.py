"""Presets: which column is wide or deep, what is learnt, by what network and optimiser.

A preset is data. `SEED` is the seed document's recipe; a run stores the preset it resolved to.
"""

from typing import Any, Literal, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from anirank.errors import PresetError

Label = Literal["Score", "rating"]
SplitBy = Literal["ratings", "users", "anime", "none"]
Fill = Literal["mean", "median", "unknown", "zero-is-mean"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Strict):
    """A column of the user or the anime table, and what stands in where it is missing.

    `zero-is-mean` takes the mean for zeros too: the seed's way with durations.
    """

    table: Literal["user", "anime"]
    name: str
    missing: Fill = "unknown"


class Optimisation(_Strict):
    """Adam's settings. The learning rate is constant, or falls to zero along half a cosine."""

    learning_rate: float = Field(default=0.001, gt=0)
    schedule: Literal["constant", "cosine"] = "constant"
    batch_size: int = Field(default=256, ge=1)
    epochs: int = Field(default=10, ge=1)


class SeedPreset(_Strict):
    """What is learnt from which columns, and how."""

    name: Literal["seed"]
    label: Label
    wide: tuple[Column, ...]
    deep: tuple[Column, ...]
    embedding_dim: int = Field(default=16, ge=1)
    hidden: tuple[int, ...] = (128, 64, 32)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    sample: float = Field(default=0.5, gt=0, le=1)
    split: tuple[float, float, float] = (0.70, 0.15, 0.15)
    optimisation: Optimisation = Optimisation()
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _split_is_whole(self) -> "SeedPreset":
        if abs(sum(self.split) - 1) > 1e-9 or min(self.split) <= 0:
            raise ValueError(f"split {self.split} is not three positive parts that make 1")
        return self

    def columns(self, part: Literal["wide", "deep"], table: Literal["user", "anime"]) -> list[str]:
        """Names of the columns one table gives to one part, in the preset's order."""
        chosen = self.wide if part == "wide" else self.deep
        return [column.name for column in chosen if column.table == table]


class PersonalPreset(_Strict):
    """The `personal` preset: crosses of the history with the candidate, and two heads.

    `ridge`, `cross_weights`: of the item-item model, its regularisation and the weights kept of
    each row. `user_exponent`: a user of n ratings weighs n^-exponent in it. `content_weight`,
    `title_weight`: what a shared value and a shared title word weigh in it, in users. `folds`: how
    many times it is fitted without some users, whose scores the deep part is trained beside.
    `dump_aggregates`: also learn from the dump's own counts and means of users and anime. They
    hold every held-out rating, so that all figures flatter.
    `id_dropout`: how often an id is hidden, so that "unknown" is learnt. A batch is of users.
    `split_by`: what is held out: some ratings of every user, users or anime whole, or nothing.
    """

    name: Literal["personal"]
    label: Literal["rating"] = "rating"
    ridge: float = Field(default=200.0, gt=0)
    cross_weights: int = Field(default=128, ge=1)
    user_exponent: float = Field(default=0.25, ge=0)
    content_weight: float = Field(default=30.0, ge=0)
    title_weight: float = Field(default=30.0, ge=0)
    dump_aggregates: bool = False
    folds: int = Field(default=3, ge=2)
    embedding_dim: int = Field(default=96, ge=1)
    hidden: tuple[int, int] = (128, 64)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    id_dropout: float = Field(default=0.3, ge=0, lt=1)
    weight_decay: float = Field(default=1e-5, ge=0)
    split: tuple[float, float, float] = (0.70, 0.15, 0.15)
    split_by: SplitBy = "ratings"
    optimisation: Optimisation = Optimisation(
        learning_rate=0.003, schedule="cosine", batch_size=128, epochs=24
    )
    seed: int = Field(default=0, ge=0)


SEED = SeedPreset(
    name="seed",
    label="Score",
    wide=(
        Column(table="user", name="user_id"),
        Column(table="user", name="gender"),
        Column(table="anime", name="anime_id"),
        Column(table="anime", name="type"),
        Column(table="anime", name="status"),
        Column(table="anime", name="producers"),
        Column(table="anime", name="studios"),
        Column(table="anime", name="source"),
        Column(table="anime", name="age_rating"),
    ),
    deep=(
        Column(table="user", name="days_watched", missing="mean"),
        Column(table="user", name="mean_score", missing="mean"),
        Column(table="user", name="completed", missing="median"),
        Column(table="user", name="total_entries", missing="median"),
        Column(table="anime", name="episodes", missing="mean"),
        Column(table="anime", name="rank", missing="mean"),
        Column(table="anime", name="popularity", missing="mean"),
        Column(table="anime", name="favorites", missing="mean"),
        Column(table="anime", name="duration_minutes", missing="zero-is-mean"),
        Column(table="anime", name="genres", missing="unknown"),
        Column(table="anime", name="air_start", missing="median"),
        Column(table="anime", name="air_end", missing="median"),
    ),
)

PERSONAL = PersonalPreset(name="personal")

PRESETS: dict[str, SeedPreset | PersonalPreset] = {"seed": SEED, "personal": PERSONAL}


@overload
def resolve(name: Literal["seed"], **given: Any) -> SeedPreset: ...
@overload
def resolve(name: Literal["personal"], **given: Any) -> PersonalPreset: ...
@overload
def resolve(name: str, **given: Any) -> SeedPreset | PersonalPreset: ...
def resolve(
    name: str,
    *,
    label: str | None = None,
    seed: int | None = None,
    sample: float | None = None,
    split_by: str | None = None,
    dump_aggregates: bool | None = None,
    **optimisation: float | int | str | None,
) -> SeedPreset | PersonalPreset:
    """The preset `name` with what the caller set in place of its own values.

    Raises PresetError for an unknown name or a value the preset does not take.
    """
    if name not in PRESETS:
        raise PresetError(f"preset {name!r} is not known; there is {', '.join(PRESETS)}")
    settings = PRESETS[name].model_dump()
    given = {
        "label": label,
        "seed": seed,
        "sample": sample,
        "split_by": split_by,
        "dump_aggregates": dump_aggregates,
    }
    settings.update({key: value for key, value in given.items() if value is not None})
    settings["optimisation"].update({k: v for k, v in optimisation.items() if v is not None})
    return validated(settings)


def validated(settings: dict[str, Any]) -> SeedPreset | PersonalPreset:
    """A preset from plain data. Raises PresetError that names the first field that is wrong."""
    kind: type[SeedPreset | PersonalPreset] = (
        PersonalPreset if settings.get("name") == "personal" else SeedPreset
    )
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "preset"
        raise PresetError(f"{where}: {first['msg']}, found {first.get('input')!r}") from None
