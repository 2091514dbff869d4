import numpy as np
import pytest

from benchmarks.training.similar import Neighbours, table
from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.engine.engine import SimilarEngine
from handlers.similar.query import Likeness, SimilarQuery, SimilarRanking
from training.personal.run import PersonalRun


@pytest.mark.slow
def test_what_is_measured_is_what_is_answered(
    personal: PersonalRun, personal_bundle: Exported
) -> None:
    bundle = Bundle.open(personal_bundle.folder)
    measured = Neighbours(personal, bundle, "validation")
    engine, users = SimilarEngine(bundle), measured.evaluator.users[:20]
    ids = bundle.catalogue.anime_id
    for likeness, scores in (
        (Likeness.CROSSES, measured._crosses(users)),
        (Likeness.VECTORS, measured._vectors(users)),
    ):
        for user, of_user in zip(users.tolist(), scores, strict=True):
            asked = measured._drawn[[user]]
            of_user[asked] = -np.inf
            query = SimilarQuery(ids[asked], 10, likeness, include_adult=True)
            found = engine.answer(query)
            assert isinstance(found, SimilarRanking)
            np.testing.assert_array_equal(found.scores, -np.sort(-of_user)[: len(found.scores)])
    *_, last = table(measured.rows())
    assert last.startswith("| Recommend, with it as history | 0.")
