"""The `seed` preset as data: which column is wide or deep, and what is learnt by what network."""

from typing import Literal

from pydantic import Field

from training.settings import Settings, Strict

Label = Literal["Score", "rating"]
Fill = Literal["mean", "median", "unknown", "zero-is-mean"]


class Column(Strict):
    """A column of the user or the anime table, and what stands in where it is missing.

    `zero-is-mean` takes the mean for zeros too: the seed's way with durations.
    """

    table: Literal["user", "anime"]
    name: str
    missing: Fill = "unknown"


class SeedSettings(Settings):
    """What is learnt from which columns, and how."""

    name: Literal["seed"]
    label: Label
    wide: tuple[Column, ...]
    deep: tuple[Column, ...]
    embedding_dim: int = Field(default=16, ge=1)
    hidden: tuple[int, ...] = (128, 64, 32)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    sample: float = Field(default=0.5, gt=0, le=1)

    def columns(self, part: Literal["wide", "deep"], table: Literal["user", "anime"]) -> list[str]:
        """Names of the columns one table gives to one part, in the preset's order."""
        chosen = self.wide if part == "wide" else self.deep
        return [column.name for column in chosen if column.table == table]


SEED = SeedSettings(
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
