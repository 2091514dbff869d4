import numpy as np
import pytest
import scipy.sparse as sp

from training.personal.wide import alike
from training.personal.wide.alike import POWER, TITLES, Alike
from training.personal.wide.side_information import SideInformation


@pytest.fixture
def side() -> SideInformation:
    rng = np.random.default_rng(0)
    content = rng.normal(size=(50, 6)).astype(np.float32)
    content[7] = content[3]
    words = (rng.random((50, 9)) < 0.3) * rng.random((50, 9))
    words[7], words[11], content[11] = words[3], 0, 0
    return SideInformation(sp.csr_array(content), sp.csr_array(words.astype(np.float32)))


def test_each_anime_has_those_most_like_it_of_what_was_watched(
    side: SideInformation, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = np.random.default_rng(1).random(50) < 0.6
    trained[[3, 7]] = True
    monkeypatch.setattr(alike, "ANIME_AT_ONCE", 16)
    found = Alike.of(side, trained, kept=5).matrix().toarray()
    both = np.hstack([side.content.toarray(), TITLES**0.5 * side.titles.toarray()]).astype(
        np.float64
    )
    both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-30)
    cosine = both @ both.T
    for candidate in range(50):
        of = np.where(trained & (np.arange(50) != candidate), cosine[:, candidate], 0).clip(0)
        of, weights = of**POWER, found[:, candidate]
        # Of anime 3 and 7, which are one, either may be the last.
        np.testing.assert_allclose(np.sort(weights)[-5:], np.sort(of)[-5:], atol=1e-5)
        assert np.count_nonzero(weights) <= 5
        np.testing.assert_allclose(weights[weights > 0], of[weights > 0], atol=1e-5)
    assert found[3, 7] == pytest.approx(1)
    assert not found[:, 11].any()


def test_a_catalogue_smaller_than_what_is_kept_has_no_more_than_it_has(
    side: SideInformation,
) -> None:
    trained = np.zeros(50, dtype=np.bool_)
    trained[[3, 7]] = True
    found = Alike.of(side, trained, kept=5)
    assert found.watched.shape == found.weight.shape == (50, 5)
    matrix = found.matrix()
    assert set(matrix.nonzero()[0].tolist()) == {3, 7}
