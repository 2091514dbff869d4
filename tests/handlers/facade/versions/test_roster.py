import math
import random
from collections import Counter

import pytest

from anirank.errors import InvalidQuery
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.onnx_graph import OnnxGraph
from handlers.engine.query import Limits
from handlers.facade.backends.embedded import EmbeddedBackend
from handlers.facade.versions.roster import Roster, ServedVersion

REQUESTS = 20_000


def version_of(folder):
    bundle = Bundle.open(folder)
    engine = Engine(bundle, GraphScorer(bundle, OnnxGraph(bundle)))
    return ServedVersion(bundle, EmbeddedBackend(engine), Limits())


@pytest.fixture(scope="module")
def both(toy_dir, next_dir):
    return [version_of(toy_dir), version_of(next_dir)]


def shares(roster, users):
    return Counter(roster.choose("", user).name for user in users)


def assert_by_weight(counts, newest):
    """Within five standard deviations of a binomial law: one run in two million is outside."""
    share = newest * REQUESTS
    assert abs(counts["2"] - share) <= 5 * math.sqrt(share * (1 - newest)) + 1
    assert counts.total() == REQUESTS


@pytest.mark.parametrize("newest", [0.0, 0.05, 0.5, 1.0])
def test_requests_go_to_the_versions_by_weight(both, newest):
    roster = Roster(*both, weights=[19 * (1 - newest), 19 * newest])
    random.seed(11)
    assert_by_weight(shares(roster, [None] * REQUESTS), newest)
    assert_by_weight(shares(roster, range(REQUESTS)), newest)
    assert_by_weight(shares(roster, range(-(2**63), 2**63, 2**64 // REQUESTS + 1)), newest)


def test_a_user_is_always_sent_to_the_same_version(both):
    roster = Roster(*both, weights=[0.9, 0.1])
    again = Roster(*both, weights=[9, 1])  # another process with the same weights
    for user in (0, 1, -1, 366396, 2**63 - 1, -(2**63), *range(10, 500)):
        chosen = roster.choose("", user)
        assert all(each.choose("", user) is chosen for each in (roster, again) * 3)


def test_those_whom_the_newest_answers_keep_it_when_its_share_grows(both):
    users = range(5_000)
    had: set[int] = set()
    for newest in (0.01, 0.05, 0.5, 1.0):
        roster = Roster(*both, weights=[1 - newest, newest])
        has = {user for user in users if roster.choose("", user).name == "2"}
        assert had < has
        had = has


def test_a_version_of_weight_0_answers_who_names_it_and_nobody_else(both):
    roster = Roster(*both, weights=[1, 0])
    assert shares(roster, range(1_000)) == {"1": 1_000}
    assert roster.choose("2", 5).name == "2"


def test_a_version_that_is_not_served_names_those_that_are(both):
    with pytest.raises(InvalidQuery, match=r"model_version: '3' is not served; served is 1, 2"):
        Roster(*both).choose("3", 5)
    with pytest.raises(InvalidQuery, match=r"served is 1$"):
        Roster(both[0]).describe("2")


def test_what_is_said_of_a_version_lists_all_with_their_weights(both):
    roster = Roster(*both, weights=[0.95, 0.05])
    for wanted, version in (("", "2"), ("1", "1"), ("2", "2")):
        info = roster.describe(wanted)
        assert info.version == version
        assert [(each.version, each.weight) for each in info.versions] == [("1", 0.95), ("2", 0.05)]
