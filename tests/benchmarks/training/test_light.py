import pytest

from benchmarks.training import light
from training.personal.run import PersonalRun


@pytest.mark.slow
def test_what_is_made_no_smaller_costs_nothing(
    personal: PersonalRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(light, "TRIED", {"nothing": {}, "crosses": {"crosses": 1}})
    head, _, whole, nothing, crosses, chosen = light.measured(personal, 100)
    assert head.startswith("| of 100 users |")
    cells = [[cell.strip() for cell in line.split("|")[2:5]] for line in (nothing, crosses)]
    assert cells[0] == ["+0.0%", "+0.0% to +0.0%", "+0.0000"]
    assert cells[1][0].startswith("-")
    assert "all that is chosen" in chosen
    assert "the whole model" in whole
