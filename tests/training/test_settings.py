import pytest

from anirank.errors import PresetError
from training.seed.settings import SEED


def test_the_seed_preset_is_the_seed_document() -> None:
    wide = {column.name for column in SEED.wide}
    deep = {column.name for column in SEED.deep}
    assert wide == {
        *("user_id", "anime_id", "gender", "type", "status"),
        *("producers", "studios", "source", "age_rating"),
    }
    assert deep == {
        *("days_watched", "episodes", "mean_score", "rank", "popularity", "favorites"),
        *("duration_minutes", "completed", "total_entries", "genres", "air_start", "air_end"),
    }
    assert (SEED.embedding_dim, SEED.hidden, SEED.dropout) == (16, (128, 64, 32), 0.2)
    assert (SEED.sample, SEED.split, SEED.label) == (0.5, (0.70, 0.15, 0.15), "Score")
    optimisation = SEED.optimisation
    assert (optimisation.learning_rate, optimisation.schedule) == (0.001, "constant")
    assert (optimisation.batch_size, optimisation.epochs) == (256, 10)


def test_what_the_caller_sets_takes_the_presets_place() -> None:
    settings = SEED.resolved(label="rating", epochs=3, batch_size=None)
    assert settings.label == "rating"
    assert settings.optimisation.epochs == 3
    assert settings.optimisation.batch_size == SEED.optimisation.batch_size


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"label": "Scores"}, "label"),
        ({"epochs": 0}, "optimisation.epochs"),
        ({"schedule": "linear"}, "optimisation.schedule"),
        ({"sample": 1.5}, "sample"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(PresetError, match=rf"^{named}: .*found"):
        SEED.resolved(**settings)


def test_a_key_that_no_preset_has_is_refused() -> None:
    with pytest.raises(PresetError, match=r"^dropuot: "):
        SEED.validated(SEED.model_dump() | {"dropuot": 0.1})
