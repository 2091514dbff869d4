"""MODEL_CARD.md: what a bundle is made of, how good it is and what it is not for, for people.

Its head is metadata as Hugging Face specifies them
(https://huggingface.co/docs/hub/model-cards#model-card-metadata).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from bundles.files import write_text
from bundles.manifest import Manifest
from export.figures import NOT_MEASURED, Figures, figures
from training.run import Run
from training.tables.tables import Tables

CARD = "MODEL_CARD.md"
TAGS = ("anime", "onnx", "ranking", "recommender-system", "torchscript", "wide-and-deep")
TASK = {"type": "recommendation", "name": "Recommendation"}
WHAT = {
    True: (
        "Ranks anime for somebody by what they have watched and how they rated it: for each of "
        "{anime:,} anime it says how much watching it is to be expected, and predicts the rating, "
        "1 to 10. Whoever brings no history gets a list by popularity."
    ),
    False: (
        "Predicts one number, `{label}`, of each of {anime:,} anime for somebody, and ranks by it. "
        "It does not look at what they have watched."
    ),
}
SPLITS = {
    "ratings": "Of each user's ratings, at random, {shares}.",
    "users": (
        "Of the users, at random, {shares}: of those held out, a fifth of each one's ratings is "
        "asked for, and the others come with the request."
    ),
    "anime": "Of the anime that were rated, at random, {shares}.",
    "none": (
        "All ratings were trained on; nothing was held out. The figures are those of the run whose "
        "settings this one took, which held ratings out."
    ),
}


class Data(NamedTuple):
    """What a card says of the data; `mean`: of the ratings."""

    described: str
    split: str
    mean: float
    synthetic: bool


def write_card(folder: Path, run: Run[Any], tables: Tables, manifest: Manifest) -> None:
    """Write the card of the bundle in `folder`.

    Figures that the run does not have are said not to be measured.
    """
    environment = Environment(
        loader=PackageLoader("export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is no HTML
    )
    begun, found = run.begun(), figures(manifest.metrics)
    what = WHAT[manifest.uses_history].format(anime=len(tables.anime), label=manifest.label)
    text = environment.get_template("card.md.jinja").render(
        metadata=yaml.safe_dump(
            _metadata(manifest, found, tables), sort_keys=False, allow_unicode=True
        ),
        manifest=manifest,
        what=what,
        begun="" if begun is None else f"{begun:%Y-%m-%d}",
        told=_told(manifest),
        data=_data(run, tables, manifest),
        figures=found,
        groups=found.groups,
        fairness=found.fairness,
        popularity=found.popularity,
        identity=_identity(manifest),
        light=_light(manifest),
        libraries=", ".join(f"{name} {v}" for name, v in manifest.libraries.items()),
    )
    write_text(folder / CARD, text)


def _metadata(manifest: Manifest, found: Figures, tables: Tables) -> dict[str, Any]:
    named = tables.source.name or "not stated"
    metrics = [
        {"type": kind, "name": name, "value": round(value, 4)}
        for kind, (name, value) in found.metrics.items()
    ]
    dataset = {
        "type": "synthetic" if tables.source.synthetic else "myanimelist",
        "name": named,
        "split": "test",
    }
    result = {"task": TASK, "dataset": dataset, "metrics": metrics}
    name = f"{manifest.name} {manifest.version}"
    return {
        "library_name": "anirank",
        "tags": list(TAGS),
        "metrics": list(found.metrics),
        # A model without results is none to Hugging Face.
        **({"model-index": [{"name": name, "results": [result]}]} if metrics else {}),
    }


def _data(run: Run[Any], tables: Tables, manifest: Manifest) -> Data:
    ratings, source = tables.ratings, tables.source
    raters = np.unique(ratings.user_row)
    kind = "Synthetic data" if source.synthetic else "Ratings of MyAnimeList"
    stated = tables.users["gender"].iloc[raters].value_counts()
    genders = ", ".join(f"{count:,} {text}" for text, count in stated.items())
    # The preset seed takes a sample, and splits in one way.
    rule = getattr(run.settings, "split_by", None)
    names = ("trained on", "validated on", "tested on")
    shares = ", ".join(
        f"{share:.0%} {name}" for share, name in zip(run.settings.split, names, strict=True)
    )
    split = SPLITS[rule] if rule else "Of a sample of the ratings, at random, {shares}."
    return Data(
        f"{kind}{f' (`{source.name}`)' if source.name else ''}: {len(ratings):,} by "
        f"{len(raters):,} users of {len(np.unique(ratings.anime_row)):,} anime; "
        f"{len(tables.anime):,} anime are in the catalogue. Of these users "
        f"{int(stated.sum()):,} state a gender{f': {genders}' if genders else ''}. "
        f"SHA-256 of the files: `{manifest.data_fingerprint}`.",
        split.format(shares=shares),
        float(ratings.rating.mean()) if len(ratings) else float("nan"),
        source.synthetic,
    )


def _told(manifest: Manifest) -> str:
    users = manifest.users
    if users is None or not users.count:
        return "nothing"
    return f"of {users.count:,} users {', '.join(users.fields)}"


def _light(manifest: Manifest) -> str:
    """What the light graph is worth; empty where there is none."""
    if manifest.light is None:
        return ""
    if not (found := manifest.light["metrics"]):
        return f"its figures: {NOT_MEASURED}"
    whole, small = (found[name] for name in ("whole", "light"))
    return (
        f"its figures on the same ratings: NDCG@10 {small['ndcg']:.3f} beside {whole['ndcg']:.3f}, "
        f"RMSE {small['rmse']:.3f} beside {whole['rmse']:.3f}"
    )


def _identity(manifest: Manifest) -> str:
    if manifest.users is None or not manifest.users.count:
        return (
            "It holds nothing of single users; but what ties anime that hardly anybody has watched "
            "comes from few."
        )
    return (
        f"It holds data of {manifest.users.count:,} users, as said above: whoever has the files "
        "has that data. `anirank export --no-users` leaves it out."
    )
