import numpy as np
import pytest
import torch

from anirank.errors import ParityError
from bundles.graph import OUTPUTS, Inputs
from export.parity import TOLERANCE, Form, as_form, check, requests
from training.seed.preset import SeedPreset
from training.seed.run import SeedRun
from training.seed.served.ranker import SeedRanker
from training.tables.tables import Tables


@pytest.fixture
def ranker(run: SeedRun, tables: Tables) -> SeedRanker:
    encoders = run.encoders()
    return SeedRanker(run.model(encoders), encoders, tables)


def compared(run: SeedRun, tables: Tables, form: Form) -> dict[str, float]:
    made = SeedPreset().served(run, tables)
    batches = requests(tables, made.profiles, 0)
    report = check(made.exact, made.trained, {"form": form}, batches, len(tables.anime))
    return report.largest_difference


def test_the_folded_graph_is_the_training_model_to_the_bit(
    run: SeedRun, tables: Tables, ranker: SeedRanker
) -> None:
    difference = compared(run, tables, as_form(ranker, tuple(OUTPUTS)))
    assert difference["form"] == 0.0
    assert difference["training model, float32"] <= TOLERANCE


def test_one_weight_a_little_off_is_refused(
    run: SeedRun, tables: Tables, ranker: SeedRanker
) -> None:
    ranker.gender_wide += 1e-4
    with pytest.raises(ParityError, match=r"form: users .*: rating differs by"):
        compared(run, tables, as_form(ranker, tuple(OUTPUTS)))


def test_one_anime_out_of_place_is_refused(
    run: SeedRun, tables: Tables, ranker: SeedRanker
) -> None:
    rows = ranker.anime_rows.rows
    known = torch.nonzero(rows).flatten()
    rows[known[0]], rows[known[1]] = rows[known[1]].clone(), rows[known[0]].clone()
    with pytest.raises(ParityError, match="rating differs"):
        compared(run, tables, as_form(ranker, tuple(OUTPUTS)))


def test_another_order_within_the_tolerance_is_refused(
    run: SeedRun, tables: Tables, ranker: SeedRanker
) -> None:
    form = as_form(ranker, tuple(OUTPUTS))

    def noisy(inputs: Inputs) -> dict[str, np.ndarray]:
        outputs = form(inputs)
        # Halves the distance of the two closest candidates twice over: still within the
        # tolerance, but no longer in order.
        rating = outputs["rating"].copy()
        for row in rating[:, : rating.shape[1] or 0]:
            if len(row) > 1:
                order = np.argsort(-row, kind="stable")
                gaps = row[order[:-1]] - row[order[1:]]
                at = int(np.argmin(np.where(gaps > 0, gaps, np.inf)))
                if 0 < gaps[at] < TOLERANCE:
                    row[order[at]], row[order[at + 1]] = row[order[at + 1]], row[order[at]]
        return outputs | {"rating": rating}

    with pytest.raises(ParityError, match="another order"):
        compared(run, tables, noisy)


def test_an_id_wrongly_known_is_refused(run: SeedRun, tables: Tables, ranker: SeedRanker) -> None:
    form = as_form(ranker, tuple(OUTPUTS))
    with pytest.raises(ParityError, match="other ids are known"):
        compared(run, tables, lambda inputs: form(inputs) | {"known": inputs["candidate_ids"] > 0})


def test_a_number_that_is_none_is_refused(run: SeedRun, tables: Tables, ranker: SeedRanker) -> None:
    ranker.user_wide[:] = torch.nan
    with pytest.raises(ParityError, match="rating differs by nan"):
        compared(run, tables, as_form(ranker, tuple(OUTPUTS)))
