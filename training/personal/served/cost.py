"""What the graph for small places is worth beside the whole one, on the run's test rows."""

from typing import Any

from training.comparison.evaluator import Evaluator, Lists, Row
from training.comparison.held_out import HeldOut
from training.loop.progress import SILENT, Stages
from training.personal.model import PersonalModel
from training.personal.served.light import Rounded, scoring
from training.splits import Split
from training.tables.tables import Tables

MEASURED = ("ndcg", "ndcg_liked", "recall_50", "rmse")


def cost(
    model: PersonalModel,
    rounded: Rounded,
    tables: Tables,
    parts: Split,
    stages: Stages = SILENT,
) -> dict[str, Any]:
    """`whole` and `light`: figures by the names of metrics; nothing where no ratings are held out.

    Users are known to the whole model by their profiles, to the light one by their histories alone.
    """
    if not len(parts.test):
        return {}
    held = HeldOut.test_rows(tables, parts)
    found: dict[str, Any] = {}
    for name, one in (("whole", model), ("light", scoring(rounded.model))):
        # What a history says depends on what each anime lets expect, which is rounded too.
        evaluator = Evaluator(tables, parts, held, one.expectation)
        stages.begin(f"measuring the {name} graph", evaluator.steps)
        row = _measured(one, evaluator, Row(name), name == "light", stages)
        intervals = {f"{each}_interval": list(of) for each, of in row.intervals.items()}
        values: dict[str, Any] = {each: row[each] for each in MEASURED}
        found[name] = values | {each: of for each, of in intervals.items() if each[:-9] in MEASURED}
    return {
        "rows": held.described,
        "ratings": len(evaluator.held),
        "users": len(evaluator.users),
        **found,
    }


def _measured(
    model: PersonalModel, evaluator: Evaluator, row: Row, strangers: bool, stages: Stages
) -> Row:
    lists = Lists(evaluator)
    for each in model.scores(evaluator.history, evaluator.users, strangers):
        lists.add(each.users, each.score)
        stages.step()
    user, anime = evaluator.pairs
    predicted = model.ratings(evaluator.history, user, anime, strangers)
    return evaluator.ratings(lists.measured(row), predicted)
