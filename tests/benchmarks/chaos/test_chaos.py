"""The chaos run tells right from wrong, and its bad versions are bad."""

import time
from pathlib import Path

import pytest

from anirank.contract import ranking_pb2 as pb
from anirank.errors import BundleError
from benchmarks.chaos.answers import Answers
from benchmarks.chaos.attacks import ATTACKS
from benchmarks.chaos.callers import Callers
from benchmarks.chaos.troubles import BAD, Troubles, Versions, beta_of
from benchmarks.serving.copies import Copies
from bundles.bundle import Bundle
from export.bundle import Exported
from handlers.forms.replies import Replies
from tests.benchmarks.conftest import serving


@pytest.fixture(scope="module")
def bundle(personal_bundle: Exported) -> Bundle:
    return Bundle.open(personal_bundle.folder)


@pytest.fixture(scope="module")
def answers(bundle: Bundle) -> Answers:
    return Answers(bundle)


@pytest.fixture
def copies(bundle: Bundle, tmp_path: Path) -> Copies:
    return Copies(bundle, tmp_path, beta_of)


def test_a_reply_of_another_version_is_wrong(bundle: Bundle, answers: Answers) -> None:
    right = pb.RankReply.FromString(Replies(bundle).write(answers.right("1")[0], 0.0))
    right.model_version = "1"
    assert answers.fault(0, right) == ""
    right.model_version = "2"
    assert "right" in answers.fault(0, right)


def test_a_reply_in_another_order_is_wrong(bundle: Bundle, answers: Answers) -> None:
    reply = pb.RankReply.FromString(Replies(bundle).write(answers.right("1")[0], 0.0))
    reply.model_version = "1"
    entries = list(reply.ranking)
    del reply.ranking[:]
    reply.ranking.extend([entries[1], entries[0], *entries[2:]])
    assert "right is" in answers.fault(0, reply)


@pytest.mark.slow
def test_callers_hear_right_answers_and_nothing_else(copies: Copies, answers: Answers) -> None:
    with (
        serving(copies.store, "--name", copies.name) as address,
        Callers(address, answers, 2, seed=0) as callers,
    ):
        until = time.monotonic() + 30
        while callers.heard.answered < 50 and time.monotonic() < until:
            time.sleep(0.1)
    assert callers.heard.answered >= 50
    assert not callers.heard.wrong
    assert not callers.heard.lost


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind != "manifest is a pipe"])
def test_a_bad_version_cannot_be_opened(copies: Copies, kind: str) -> None:
    Versions(copies).bad(BAD[kind])
    with pytest.raises(BundleError):
        Bundle.open(copies.store / copies.name / "2")


def test_each_trouble_comes_once_before_any_comes_again(copies: Copies) -> None:
    troubles = Troubles(0, "", Versions(copies), seed=3)
    assert set(troubles.kinds) >= {*BAD, *ATTACKS, "worker killed", "worker halted"}
    for name in troubles.kinds:
        troubles.kinds[name] = lambda: None
    done = [troubles.next() for _ in troubles.kinds]
    assert sorted(done) == sorted(troubles.kinds)
    assert done != [troubles.next() for _ in troubles.kinds]
