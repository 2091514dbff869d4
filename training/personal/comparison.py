"""A `personal` run beside the baselines: whole, in its parts, and as visitors meet it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from anirank.errors import RunError
from bundles.files import write_text
from training.comparison.baselines import BASELINES, Training, available
from training.comparison.conclusions import BOTH, HISTORY, NOTHING, WHOLE, remarks
from training.comparison.diversity import asked_for, curve
from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.comparison.table import Comparison, compared
from training.interactions.interactions import USERS_AT_ONCE, Interactions
from training.loop.progress import SILENT, Stages
from training.personal.mix import Mix
from training.personal.model import PersonalModel, Scores
from training.personal.run import PersonalRun


def compare(run: PersonalRun, ratings: Path | None = None, stages: Stages = SILENT) -> Comparison:
    """The run's model and the baselines, all fitted on the run's training rows.

    Tried on the run's test rows, or on the ratings of a file that are not known already. What is
    compared on the test rows is also kept in evaluation.json. `stages` is told each model's name
    before its turn. Raises RunError and DataError.
    """
    stages.begin("reading the run")
    tables = run.tables()
    parts = run.parts(tables)
    if ratings is None and not len(parts.test):
        raise RunError(f"{run.folder}: holds no ratings out; try it on others with --ratings FILE")
    model = PersonalModel.load(run, tables)
    if ratings is None:
        held = HeldOut.test_rows(tables, parts)
    else:
        held = HeldOut.of_file(ratings, tables, parts)
    training = Training(tables, parts, model.expectation, held.listed, run.settings.seed)
    evaluator = Evaluator(tables, parts, held, model.expectation)
    rows = compared(training, evaluator, partial(_contenders, model), stages)
    comparison = Comparison(
        run=run.folder.name,
        rows=held.described,
        ratings=len(evaluator.held),
        users=len(evaluator.users),
        split_by=run.settings.split_by,
        listed=int(held.listed.sum()),
        groups=evaluator.groups,
        lines=rows,
        remarks=remarks(
            rows,
            split_by=run.settings.split_by,
            dump_aggregates=run.settings.dump_aggregates,
            missing=[name for name in BASELINES if name not in available()],
            asked=(len(evaluator.users), len(np.unique(held.ratings.user_row))),
            raters=training.raters,
        ),
        diversified=_diversified(model, evaluator, stages),
    )
    if ratings is None:
        write_text(run.evaluation_file, comparison.to_json())
    return comparison


def _contenders(model: PersonalModel, evaluator: Evaluator, stages: Stages) -> Iterator[Row]:
    """The model whole and in its parts, and what it is worth to visitors."""
    user, anime = evaluator.pairs
    mix = model.mix
    if mix.genres:
        stages.begin("wide without genres", evaluator.steps)
        with _mixed(model, replace(mix, genres=0.0)):
            scored = model.scores(evaluator.history, evaluator.users)
            without = {"wide without genres": lambda each: each.wide}
            yield from _lists(evaluator, scored, without, stages)
    stages.begin(BOTH, evaluator.steps)
    ways: dict[str, Callable[[Scores], np.ndarray]] = {
        "wide alone": lambda each: each.wide,
        WHOLE: lambda each: each.score,
    }
    if mix.beta:  # else it is the whole
        ways[BOTH] = lambda each: each.affinity
    scored = model.scores(evaluator.history, evaluator.users)
    wide, whole, *both = _lists(evaluator, scored, ways, stages)
    yield wide
    stages.begin("deep alone", evaluator.steps)
    yield evaluator.lists(Row("deep alone"), partial(_watching, model, evaluator, stages))
    yield from both
    yield evaluator.ratings(whole, model.ratings(evaluator.history, user, anime))
    stages.begin("visitors", evaluator.steps)
    scored = model.scores(evaluator.history, evaluator.users, strangers=True)
    [line] = _lists(evaluator, scored, {HISTORY: lambda each: each.score}, stages)
    yield evaluator.ratings(line, model.ratings(evaluator.history, user, anime, strangers=True))
    yield _of_nobody(model, evaluator, anime)


@torch.inference_mode()
def _diversified(model: PersonalModel, evaluator: Evaluator, stages: Stages) -> list[Row]:
    """The whole model's tens with more and more diversity."""
    users = asked_for(evaluator)
    stages.begin("with diversity", -(-len(users) // USERS_AT_ONCE))
    _, encoded = model.encode(evaluator.history, users[:1])

    def scored() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for each in model.scores(evaluator.history, users):
            yield each.users, each.score
            stages.step()

    return curve(evaluator, encoded.anime.double().cpu().numpy(), scored())


@torch.inference_mode()
def _watching(
    model: PersonalModel, evaluator: Evaluator, stages: Stages, users: np.ndarray
) -> np.ndarray:
    """The deep part's own word, float32[B, A]: its logits, whatever the mix makes of them."""
    _, encoded = model.encode(evaluator.history, users)
    stages.step()
    return np.asarray(model.network.logits(encoded).cpu().numpy())


def _of_nobody(model: PersonalModel, evaluator: Evaluator, anime: np.ndarray) -> Row:
    """Without id and history everybody is the same: one answer serves for all."""
    nothing, nobody = Interactions.nobody(len(evaluator.listed)), np.zeros(1, dtype=np.int64)
    [answer] = model.scores(nothing, nobody, strangers=True)
    line = evaluator.lists(Row(NOTHING), lambda users: np.repeat(answer.score, len(users), axis=0))
    rows = np.zeros(len(anime), dtype=np.int64)
    return evaluator.ratings(line, model.ratings(nothing, rows, anime, strangers=True))


@contextmanager
def _mixed(model: PersonalModel, mix: Mix) -> Iterator[None]:
    own, model.mix = model.mix, mix
    try:
        yield
    finally:
        model.mix = own


def _lists(
    evaluator: Evaluator,
    scored: Iterator[Scores],
    read: dict[str, Callable[[Scores], np.ndarray]],
    stages: Stages,
) -> list[Row]:
    """A line for each way to read the scores, all in one pass."""
    lists = {name: Lists(evaluator) for name in read}
    for each in scored:
        for name, of in read.items():
            lists[name].add(each.users, of(each))
        stages.step()
    return [each.measured(Row(name)) for name, each in lists.items()]
