import signal

import pytest

from training.loop import interruption
from training.loop.interruption import interruptible


def test_a_ctrl_c_that_is_handed_on_at_once_is_the_same_one() -> None:
    with interruptible() as interrupted:
        assert not interrupted.is_set()
        signal.raise_signal(signal.SIGINT)  # of the terminal
        signal.raise_signal(signal.SIGINT)  # of torchrun
        signal.raise_signal(signal.SIGTERM)
        assert interrupted.is_set()


def test_the_next_ctrl_c_acts_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "SAME_S", -1.0)
    with interruptible() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
