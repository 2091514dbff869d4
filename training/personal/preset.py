"""The preset `personal`: a true Wide & Deep that knows the person."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch

from anirank.errors import RunError
from training.comparison.conclusions import BOTH, HISTORY, NOTHING, WHOLE
from training.comparison.report import About, write_report
from training.comparison.table import Comparison
from training.folding.served import Light, Served, profile_fields
from training.interactions.hidden import HIDDEN
from training.interactions.hidden import NOTHING as NO_HISTORY
from training.loop.progress import SILENT, Stages
from training.loop.ranks import ALONE, Ranks
from training.personal.comparison import compare
from training.personal.features.content import Content
from training.personal.features.profiles import Profiles
from training.personal.model import PersonalModel
from training.personal.people import Showcase
from training.personal.run import PersonalRun
from training.personal.served.cost import cost
from training.personal.served.crosses import served_crosses
from training.personal.served.light import LightRanker, rounded
from training.personal.served.ranker import PersonalRanker
from training.personal.served.reference import PersonalReference
from training.personal.served.tables import served_tables
from training.personal.settings import PERSONAL, PersonalSettings
from training.personal.trainer import PersonalTrainer
from training.personal.update import updated
from training.preset import Preset
from training.tables.growth import Growth
from training.tables.tables import Tables

# What each row of its own in the comparison is.
MODELS = {
    "wide without genres": "the wide part without crosses of genres",
    "wide alone": "the wide part: crosses of the history with the candidate",
    "deep alone": "the deep part: the network's watch affinity",
    BOTH: "both, added up by the mix chosen on validation",
    WHOLE: "wide and deep, and β times the predicted rating: the model as it is served",
    HISTORY: "the same users without a profile: the history alone",
    NOTHING: "neither profile nor history: one list for everybody",
}


class PersonalPreset(Preset[PersonalRun]):
    """Crosses of the history with the candidate, and a network with two heads beside them."""

    defaults = PERSONAL
    shared = True
    run = PersonalRun

    def trainer(
        self,
        run: PersonalRun,
        tables: Tables,
        device: torch.device,
        stages: Stages = SILENT,
        ranks: Ranks = ALONE,
    ) -> PersonalTrainer:
        """Fits the crosses first, which takes a while."""
        return PersonalTrainer(run, tables, device, stages, ranks)

    def evaluate(
        self, run: PersonalRun, ratings: Path | None = None, stages: Stages = SILENT
    ) -> Comparison:
        """Its evaluation is the comparison."""
        return compare(run, ratings, stages)

    def compare(
        self, run: PersonalRun, ratings: Path | None = None, stages: Stages = SILENT
    ) -> Comparison:
        """The model, its parts and the baselines in one table."""
        return compare(run, ratings, stages)

    def conclude(self, run: PersonalRun, stages: Stages = SILENT) -> Comparison | str:
        """The comparison, where ratings are held out."""
        if run.settings.split_by == "none":
            return "trained on all ratings; the figures are those of the run it came from"
        return compare(run, stages=stages)

    def refit(self, chosen: PersonalRun, folder: Path, tables: Tables) -> PersonalRun:
        """Begin a run in `folder` with the settings, the mix and the figures of `chosen`.

        Raises RunError where `chosen` has not ended, or was trained on other data.
        """
        if tables.fingerprint != chosen.fingerprint:
            raise RunError(f"{chosen.folder}: was trained on other data (the fingerprints differ)")
        if chosen.settings.split_by == "none":
            raise RunError(
                f"{chosen.folder}: holds nothing back already; name the run it came from"
            )
        if chosen.updated_from() is not None:
            raise RunError(
                f"{chosen.folder}: is the short pass of an update; refit a new run, and update that"
            )
        kept = (chosen.mix_file, chosen.evaluation_file)
        for file in kept:
            if not file.exists():
                raise RunError(f"{chosen.folder}: has not ended yet ({file.name} is missing)")
        settings = chosen.settings.model_copy(update={"split_by": "none"})
        run = self.begin(folder, settings, tables)
        for file in kept:
            shutil.copyfile(file, folder / file.name)
        return run

    def update(self, run: PersonalRun, folder: Path, growth: Growth) -> PersonalRun:
        """Begin a run in `folder` with the weights of `run`, grown by rows for the new anime.

        Raises RunError where `run` has not ended.
        """
        return updated(run, folder, growth)

    def report(self, run: PersonalRun, output: Path | None = None, stages: Stages = SILENT) -> Path:
        """Write report.html in the run's folder, unless `output` says where.

        The comparison kept in the run is taken, or made where there is none yet.
        """
        comparison = Comparison.load(run.evaluation_file) or compare(run, stages=stages)
        stages.begin("asking for a few users")
        tables = run.tables()
        showcase = Showcase.of(run, PersonalModel.load(run, tables), tables)
        ratings, people = showcase.test_ratings(), showcase.people()
        stages.begin("drawing")
        file = output or run.folder / "report.html"
        write_report(
            file,
            comparison,
            about=_about(run, tables),
            epochs=run.metrics(),
            ratings=ratings,
            people=people,
        )
        return file

    def served(
        self, run: PersonalRun, tables: Tables, users: bool = True, stages: Stages = SILENT
    ) -> Served:
        """Both parts folded into one graph, and the crosses beside it to take scores apart."""
        measured = run.evaluation() or json.loads(compare(run, stages=stages).to_json())
        stages.begin("folding the model")
        model, profiles = PersonalModel.load(run, tables), Profiles.load(run.folder)
        if not users:
            model = model.without_users()
        ranker = PersonalRanker(model, profiles, tables)
        known = tables.users["user_id"].to_numpy(np.int64)[model.users]
        crosses = served_crosses(model, ranker)
        return Served(
            ranker=ranker,
            profile=profile_fields(profiles.genders, profiles.scale),
            users=known,
            profiles=profiles.stated(tables.users),
            exact=PersonalReference(model, profiles, tables, torch.float64),
            trained=PersonalReference(model, profiles, tables, torch.float32),
            beta=model.mix.beta,
            mean=model.mix.mean,
            crosses=crosses,
            embeds_users=False,
            vocabularies=dict(Content.load(run.folder).values),
            metrics=measured,
            tables=served_tables(ranker, crosses),
        )

    def light(self, run: PersonalRun, tables: Tables, stages: Stages = SILENT) -> Light:
        """Rounded, and measured beside the whole on the run's test rows."""
        stages.begin("rounding the model")
        model, profiles = PersonalModel.load(run, tables), Profiles.load(run.folder)
        made = rounded(model)
        return Light(
            ranker=LightRanker(made, profiles, tables),
            exact=PersonalReference(made.model, profiles, tables, torch.float64),
            trained=PersonalReference(made.model, profiles, tables, torch.float32),
            metrics=cost(model, made, tables, run.parts(tables), stages),
        )


def _about(run: PersonalRun, tables: Tables) -> About:
    return About(
        run=run.folder.resolve().name,
        begun=run.begun(),
        settings=run.settings.model_dump(),
        source=tables.source,
        fingerprint=run.fingerprint,
        ratings=len(tables.ratings),
        users=len(tables.users),
        anime=len(tables.anime),
        models=MODELS,
        errors=_errors(run.settings),
    )


def _errors(settings: PersonalSettings) -> str:
    """Why the trainer's two errors differ."""
    fewest, most = HIDDEN
    return (
        "The training error may well lie above the validation error, since the two are not "
        "measured alike. The training error is the mean over an epoch in which the weights still "
        f"change, and of a harder task: {fewest:.0%} to {most:.0%} of each user's history is "
        f"hidden and asked for from the rest, {NO_HISTORY:.0%} of users bring no history at all, "
        f"profiles of users are hidden {settings.id_dropout:.0%} of the time, "
        f"and {settings.dropout:.0%} of hidden units are dropped out. The validation error is that "
        "of the whole model at the end of the epoch, told the whole history."
    )
