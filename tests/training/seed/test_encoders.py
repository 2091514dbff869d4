from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import LabelEncoder, StandardScaler

from anirank.errors import RunError
from training.seed.encoders import Encoders, labels
from training.seed.run import SeedRun
from training.seed.sample import sample
from training.seed.settings import SEED, SeedSettings
from training.seed.vocabularies import Vocabulary
from training.tables.tables import Ratings, Tables


@pytest.fixture(scope="module")
def encoders(tables: Tables, seed_settings: SeedSettings) -> Encoders:
    return Encoders.fit(tables, seed_settings, sample(tables, seed_settings).train)


def merged(tables: Tables, rows: np.ndarray) -> pd.DataFrame:
    """The seed's own way: one wide frame, a row a rating."""
    users = tables.users.iloc[tables.ratings.user_row[rows]].reset_index(drop=True)
    anime = tables.anime.iloc[tables.ratings.anime_row[rows]].reset_index(drop=True)
    return pd.concat([users, anime], axis=1)


def test_codes_are_those_of_a_label_encoder_on_the_merged_training_rows(
    tables: Tables, seed_settings: SeedSettings, encoders: Encoders
) -> None:
    rows = sample(tables, seed_settings).train
    frame = merged(tables, rows)
    for name in ("user_id", "anime_id", "gender", "type", "studios"):
        values = frame[name]
        if name == "studios":
            values = values.map(", ".join)
        if not name.endswith("_id"):
            values = values.map(lambda text: text or "unknown")
        expected = LabelEncoder().fit_transform(values) + 1
        assert np.array_equal(encoders.vocabularies[name].encode(values), expected), name


def test_scaled_columns_are_those_of_a_standard_scaler_on_the_merged_training_rows(
    tables: Tables, seed_settings: SeedSettings, encoders: Encoders
) -> None:
    rows = sample(tables, seed_settings).train
    frame = merged(tables, rows)
    episodes = frame["episodes"].fillna(tables.anime["episodes"].mean())
    expected = StandardScaler().fit_transform(episodes.to_numpy(np.float64)[:, None])[:, 0]
    anime = encoders.standardise(encoders.side(tables, "anime").deep, "anime")
    column = seed_settings.columns("deep", "anime").index("episodes")
    np.testing.assert_allclose(
        anime[tables.ratings.anime_row[rows], column], expected, rtol=1e-5, atol=1e-6
    )


def test_durations_of_zero_and_unknown_ones_take_the_mean(
    tables: Tables, seed_settings: SeedSettings, encoders: Encoders
) -> None:
    minutes = tables.anime["duration_minutes"].to_numpy()
    missing = np.isnan(minutes) | (minutes == 0)
    assert missing.any()
    column = seed_settings.columns("deep", "anime").index("duration_minutes")
    filled = encoders.side(tables, "anime").deep[:, column]
    np.testing.assert_allclose(filled[missing], minutes[~missing].mean(), rtol=1e-6)
    np.testing.assert_allclose(filled[~missing], minutes[~missing], rtol=1e-6)


def test_an_id_outside_the_training_rows_is_unknown(
    tables: Tables, seed_settings: SeedSettings, encoders: Encoders
) -> None:
    trained_on = set(tables.ratings.anime_row[sample(tables, seed_settings).train].tolist())
    others = np.array([row for row in range(len(tables.anime)) if row not in trained_on])
    assert len(others)
    column = seed_settings.columns("wide", "anime").index("anime_id")
    codes = encoders.side(tables, "anime").codes[:, column]
    assert (codes[others] == 0).all()
    assert (codes[sorted(trained_on)] > 0).all()


def test_the_label_is_the_anime_score_or_the_users_rating(tables: Tables) -> None:
    ratings = Ratings(*(array[:50] for array in vars(tables.ratings).values()))
    score = tables.anime["score"].fillna(tables.anime["score"].mean()).to_numpy()
    by_score = labels(tables, SEED, ratings)
    np.testing.assert_allclose(by_score, score[ratings.anime_row], rtol=1e-6)
    by_rating = labels(tables, SEED.model_copy(update={"label": "rating"}), ratings)
    assert np.array_equal(by_rating, ratings.rating)


def test_saved_encoders_encode_alike(
    tables: Tables, seed_settings: SeedSettings, encoders: Encoders, tmp_path: Path
) -> None:
    encoders.save(tmp_path)
    loaded = Encoders.load(tmp_path, seed_settings)
    for side in ("user", "anime"):
        before, after = encoders.side(tables, side), loaded.side(tables, side)
        assert np.array_equal(before.codes, after.codes)
        assert np.array_equal(
            encoders.standardise(before.deep, side), loaded.standardise(after.deep, side)
        )


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("vocabularies.json", '"gender"', '"sex"'),
        ("vocabularies.json", '["Female"', '["Zoe", "Female"'),
        ("scalers.json", '"scale"', '"skale"'),
        ("vocabularies.json", "{", "{{"),
    ],
)
def test_damaged_encoders_are_refused(
    run: SeedRun, seed_settings: SeedSettings, tmp_path: Path, file: str, before: str, after: str
) -> None:
    run.encoders().save(tmp_path)
    text = (tmp_path / file).read_text("utf-8")
    assert before in text
    (tmp_path / file).write_text(text.replace(before, after, 1), "utf-8")
    with pytest.raises(RunError, match=str(tmp_path)):
        Encoders.load(tmp_path, seed_settings)


def test_row_zero_of_a_vocabulary_is_the_unknown() -> None:
    vocabulary = Vocabulary.fit(pd.Series(["b", "a", "b"]))
    assert vocabulary.encode(pd.Series(["a", "b", "c", "b"])).tolist() == [1, 2, 0, 2]
    assert vocabulary.size == 3
