from typing import NamedTuple

import numpy as np
import pytest

from training.comparison.ranking_metrics import Relevant, ndcg, top
from training.interactions.interactions import Interactions
from training.personal.mix import Mix
from training.personal.mixing import CHOICES, choose, parts
from training.personal.model import PersonalModel
from training.personal.run import PersonalRun
from training.tables.tables import Ratings, Tables


class Validation(NamedTuple):
    model: PersonalModel
    known: Interactions
    held: Ratings
    users: np.ndarray


@pytest.fixture
def validation(personal: PersonalRun, tables: Tables) -> Validation:
    model, split = PersonalModel.load(personal, tables), personal.parts(tables)
    known = Interactions.of(tables.ratings, split.known, model.expectation, len(tables.users))
    held = tables.ratings.at(split.validation)
    return Validation(model, known, held, np.unique(held.user_row).astype(np.int64))


def test_the_parts_of_the_best_rank_as_the_whole_catalogue_does(validation: Validation) -> None:
    model, known, held, users = validation
    listed = np.arange(known.watched.shape[1]) % 7 > 0
    found = parts(model, known, held, users, listed)
    for mix in (Mix(), Mix(taste=0.2, genres=1.5, deep=0.3), Mix(beta=0.02, mean=7.0)):
        model.mix, measured = mix, []
        relevant = Relevant.of(held.user_row, held.anime_row, known.watched.shape)
        for batch in model.scores(known, users):
            score = np.where(known.watched[batch.users].toarray() > 0, -np.inf, batch.score)
            score[:, ~listed] = -np.inf
            lists = top(score, 10)
            hits = relevant.among(lists, batch.users)
            measured.append(ndcg(hits, relevant.counts(batch.users)))
        np.testing.assert_allclose(found.ndcg(mix)[0], np.concatenate(measured).mean(), rtol=1e-5)


def test_the_chosen_mix_is_no_worse_than_the_crosses_alone_in_either_measure(
    validation: Validation,
) -> None:
    everything = np.ones(validation.known.watched.shape[1], dtype=bool)
    found = parts(*validation, everything)
    mix = choose(found, 7.0)
    assert np.all(found.ndcg(mix) >= found.ndcg(Mix(mean=7.0)))
    for part, values in CHOICES.items():
        assert getattr(mix, part) in values
