import pytest

from anirank.errors import BundleError
from handlers.engine.query import Limits
from handlers.torchserve.options import Options, read_options


def test_what_the_model_config_says_is_taken_and_the_rest_is_as_usual():
    config = {"minWorkers": 1, "ranking": {"max_candidates": 5, "threads": 2}}
    assert read_options(config) == Options(Limits(candidates=5), threads=2)
    for nothing in (None, {}, {"minWorkers": 1}, {"ranking": None}):
        assert read_options(nothing) == Options()


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ({"max_candidate": 5}, "ranking.max_candidate is not known; known are max_candidates"),
        ({"threads": 0}, "ranking.threads is 0, should be at least 1"),
        ({"threads": True}, "ranking.threads is True"),
        ({"max_history": "9"}, "ranking.max_history is '9'"),
        ([1], "ranking is .*should be a mapping"),
    ],
)
def test_a_model_config_that_says_what_is_not_known_is_refused(ranking, message):
    with pytest.raises(BundleError, match=message):
        read_options({"ranking": ranking})
