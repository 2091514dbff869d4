"""The preset `seed`: the seed document's recipe to the letter."""

import json
from pathlib import Path

import numpy as np
import torch

from training.folding.served import Served, profile_fields
from training.loop.progress import SILENT, Stages
from training.loop.ranks import ALONE, Ranks
from training.preset import Preset
from training.seed.encoders import VOCABULARIES, labels
from training.seed.evaluation import Evaluation, evaluate
from training.seed.run import SeedRun
from training.seed.served.ranker import SeedRanker
from training.seed.served.reference import SeedReference
from training.seed.served.tables import served_tables
from training.seed.settings import SEED
from training.seed.trainer import SeedTrainer
from training.tables.tables import Tables


class SeedPreset(Preset[SeedRun]):
    """A network of embeddings and numbers that predicts one label of a user and an anime."""

    defaults = SEED
    run = SeedRun

    def trainer(
        self,
        run: SeedRun,
        tables: Tables,
        device: torch.device,
        stages: Stages = SILENT,
        ranks: Ranks = ALONE,
    ) -> SeedTrainer:
        """Keeps the epoch of the lowest validation loss."""
        return SeedTrainer(run, tables, device)

    def evaluate(
        self, run: SeedRun, ratings: Path | None = None, stages: Stages = SILENT
    ) -> Evaluation:
        """The run's errors against its label and against the user's own rating."""
        stages.begin("predicting what was held out")
        return evaluate(run, ratings)

    def served(
        self, run: SeedRun, tables: Tables, users: bool = True, stages: Stages = SILENT
    ) -> Served:
        """The folded network; it takes no history, so there is no wide part to take apart."""
        stages.begin("folding the model")
        encoders, known = run.encoders(), tables if users else tables.without_users()
        vocabularies = json.loads((run.folder / VOCABULARIES).read_text("utf-8"))
        if not users:
            del vocabularies["user_id"]
        side = encoders.side(tables, "user")
        gender = encoders.settings.columns("wide", "user").index("gender")
        numbers = encoders.settings.columns("deep", "user")
        ranker = SeedRanker(run.model(encoders), encoders, known)
        return Served(
            ranker=ranker,
            profile=profile_fields(encoders.vocabularies["gender"].values, numbers),
            users=known.users["user_id"].to_numpy(np.int64),
            profiles=np.column_stack([side.codes[:, gender], side.deep]).astype(np.float32),
            exact=SeedReference(run.model(encoders).double(), encoders, known),
            trained=SeedReference(run.model(encoders), encoders, known),
            beta=0.0,
            mean=float(labels(tables, run.settings, tables.ratings).mean(dtype=np.float64)),
            crosses=None,
            embeds_users=True,
            vocabularies=vocabularies,
            metrics=json.loads(evaluate(run).to_json()),
            tables=served_tables(ranker),
        )
