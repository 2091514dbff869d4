"""The preset `personal`: a true Wide & Deep that knows the person."""

import json
import shutil
from pathlib import Path

import torch

from anirank.errors import RunError
from training.comparison.report import write_report
from training.comparison.table import Comparison
from training.folding.served import Served, profile_fields
from training.loop.progress import Announce, silently
from training.personal.comparison import compare
from training.personal.features.content import Content
from training.personal.features.profiles import Profiles
from training.personal.model import PersonalModel
from training.personal.people import Showcase
from training.personal.run import PersonalRun
from training.personal.served.crosses import served_crosses
from training.personal.served.ranker import PersonalRanker
from training.personal.served.reference import PersonalReference
from training.personal.settings import PERSONAL
from training.personal.trainer import PersonalTrainer
from training.preset import Preset
from training.tables.tables import Tables


class PersonalPreset(Preset[PersonalRun]):
    """Crosses of the history with the candidate, and a network with two heads beside them."""

    defaults = PERSONAL
    run = PersonalRun

    def trainer(self, run: PersonalRun, tables: Tables, device: torch.device) -> PersonalTrainer:
        """Fits the crosses first, which takes a while."""
        return PersonalTrainer(run, tables, device)

    def evaluate(
        self, run: PersonalRun, ratings: Path | None = None, announce: Announce = silently
    ) -> Comparison:
        """Its evaluation is the comparison."""
        return compare(run, ratings, announce)

    def compare(
        self, run: PersonalRun, ratings: Path | None = None, announce: Announce = silently
    ) -> Comparison:
        """The model, its parts and the baselines in one table."""
        return compare(run, ratings, announce)

    def conclude(self, run: PersonalRun, announce: Announce = silently) -> Comparison | str:
        """The comparison, where ratings are held out."""
        if run.settings.split_by == "none":
            return "trained on all ratings; the figures are those of the run it came from"
        return compare(run, announce=announce)

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
        kept = (chosen.mix_file, chosen.evaluation_file)
        for file in kept:
            if not file.exists():
                raise RunError(f"{chosen.folder}: has not ended yet ({file.name} is missing)")
        settings = chosen.settings.model_copy(update={"split_by": "none"})
        run = self.begin(folder, settings, tables)
        for file in kept:
            shutil.copyfile(file, folder / file.name)
        return run

    def report(
        self, run: PersonalRun, output: Path | None = None, announce: Announce = silently
    ) -> Path:
        """Write report.html in the run's folder, unless `output` says where.

        The comparison kept in the run is taken, or made where there is none yet.
        """
        comparison = Comparison.load(run.evaluation_file) or compare(run, announce=announce)
        tables = run.tables()
        showcase = Showcase.of(run, PersonalModel.load(run, tables), tables)
        file = output or run.folder / "report.html"
        write_report(
            file,
            comparison,
            epochs=run.metrics(),
            ratings=showcase.test_ratings(),
            people=showcase.people(),
            settings=run.settings.model_dump(),
            fingerprint=run.fingerprint,
        )
        return file

    def served(self, run: PersonalRun, tables: Tables) -> Served:
        """Both parts folded into one graph, and the crosses beside it to take scores apart."""
        model, profiles = PersonalModel.load(run, tables), Profiles.load(run.folder)
        ranker = PersonalRanker(model, profiles, tables)
        measured = run.evaluation() or json.loads(compare(run).to_json())
        return Served(
            ranker=ranker,
            profile=profile_fields(profiles.genders, profiles.scale),
            profiles=profiles.stated(tables.users),
            exact=PersonalReference(model, profiles, tables, torch.float64),
            trained=PersonalReference(model, profiles, tables, torch.float32),
            beta=model.mix.beta,
            mean=model.mix.mean,
            crosses=served_crosses(model, ranker),
            vocabularies=dict(Content.load(run.folder).values),
            metrics=measured,
        )
