import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from benchmarks.systems.environments import Environment
from benchmarks.training.peers import compare
from benchmarks.training.peers.compare import Asked, Peer
from tests.benchmarks.training import watched_together
from training.comparison.conclusions import WHOLE
from training.comparison.evaluator import Row
from training.personal.run import PersonalRun

SETTINGS = {"exponent": 0.5}


class Here(Environment):
    """This very Python."""

    def python(self, cache: Path) -> Path:
        return Path(sys.executable)


def peer(module: str) -> Peer:
    return Peer("together", module, Here("here", ()), SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("validation", [True, False])
def test_a_peers_lists_are_measured_as_if_it_had_been_fitted_here(
    personal: PersonalRun, tmp_path: Path, validation: bool
) -> None:
    asked = Asked(personal, validation)
    found = asked.measured(peer(watched_together.__name__), tmp_path)

    train = asked.evaluator.history.watched
    scores = watched_together.fit(asked.watched, SETTINGS)

    def here(users: np.ndarray) -> np.ndarray:
        whole = np.full((len(users), train.shape[1]), -np.inf, dtype=np.float32)
        whole[:, asked.anime] = scores(sp.csr_matrix(train[users][:, asked.anime]))
        return whole

    expected = asked.evaluator.lists(Row("together"), here)
    assert found.values == expected.values
    assert found.values["ndcg"] > 0


def test_a_peer_that_fails_says_why(personal: PersonalRun, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"together: .*No module named .*no_such_peer"):
        Asked(personal, True).measured(peer(f"{compare.HERE}.no_such_peer"), tmp_path)


def test_the_best_stands_last_and_ours_is_marked() -> None:
    rows = {
        name: Row(name, {"ndcg": ndcg, "ndcg_liked": ndcg / 2})
        for name, ndcg in (("SLIM", 0.3), (WHOLE, 0.4), ("EASE", 0.2))
    }
    assert [*compare.table([rows], [0])][2:] == [
        "| EASE | 0.2000, 0.1000 |",
        "| SLIM | 0.3000, 0.1500 |",
        f"| **{WHOLE}** | 0.4000, 0.2000 |",
    ]
