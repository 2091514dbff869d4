import numpy as np

from training.synthesis.community import Community


def test_nobody_watches_the_anime_of_least_fame_but_for_those_that_examples_ask_for() -> None:
    rng = np.random.default_rng(0)
    genres = np.eye(5, dtype=np.bool_)[rng.integers(0, 5, 300)]
    unseen = np.arange(300) >= 290
    famous = np.arange(300) < 12
    community = Community.invent(genres, unseen, famous, 0.5, rng)
    watched = community.popularity > 0
    assert watched[famous].all()
    assert not watched[unseen].any()
    assert 140 <= watched.sum() <= 155
    assert (np.diff(np.concatenate([[0], community.watched[:300]]))[~watched] == 0).all()
