import json
import re
import shutil
from pathlib import Path

import pytest

from anirank.errors import RunError
from training.personal.mix import Mix
from training.personal.model import PersonalModel
from training.personal.preset import PersonalPreset
from training.personal.run import PersonalRun
from training.tables.tables import Tables

WHOLE = {"taste": 1.5, "genres": 0.1, "deep": 2.0, "beta": 0.5, "mean": 7}


def test_a_mix_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    mix = Mix(**WHOLE)
    mix.save(tmp_path / "mix.json")
    assert Mix.load(tmp_path / "mix.json") == mix


@pytest.mark.parametrize(
    "saved", [{}, [], WHOLE | {"beta": None}, WHOLE | {"beta": float("nan")}, WHOLE | {"more": 1}]
)
def test_what_is_no_whole_mix_is_refused(saved: object, tmp_path: Path) -> None:
    (tmp_path / "mix.json").write_text(json.dumps(saved))
    expected = "mix.json should hold taste, genres, deep, beta, mean, a number each"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        Mix.load(tmp_path / "mix.json")


def test_a_run_whose_mix_says_nothing_is_refused(
    personal: PersonalRun, tables: Tables, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(personal.folder, tmp_path / "run"))
    (folder / "mix.json").write_text("{}")
    with pytest.raises(RunError, match=rf"{folder}: does not fit together: mix\.json should hold"):
        PersonalModel.load(PersonalPreset().open(folder), tables)
