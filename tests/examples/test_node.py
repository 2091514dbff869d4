"""The example for Node ranks as the engine does."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from handlers.engine.query import Query, Ranking
from tests.docs.tracked import ROOT

EXAMPLE = ROOT / "examples/node"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(
        not (EXAMPLE / "node_modules").is_dir(), reason="examples/node is not installed: make node"
    ),
]


def test_it_gives_the_order_and_the_ratings_of_the_engine(engine, toy_dir: Path) -> None:
    history, candidates = {3: 9.0, 6: None}, [30, 9, 4, 12, 15, 3, 21]
    given = {str(id): rating for id, rating in history.items()}
    command = ["node", str(EXAMPLE / "rank.mjs"), str(toy_dir), json.dumps(given)]
    done = subprocess.run(
        [*command, *map(str, candidates)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    query = Query(
        candidate_ids=np.array(candidates),
        history_ids=np.array(list(history)),
        history_ratings=np.array([9, np.nan], np.float32),
    )
    [expected] = engine.rank([query])
    assert isinstance(expected, Ranking)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [int(line[0]) for line in lines] == expected.anime_ids.tolist()
    assert [float(line[2]) for line in lines] == expected.ratings.tolist()
    scores = np.array([float(line[1]) for line in lines])
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-6)  # engine's are float32


def test_it_says_what_to_give() -> None:
    command = ["node", str(EXAMPLE / "rank.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "give a bundle" in done.stderr
