"""The model card: what it says is so, and its head is what Hugging Face specifies."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from pydantic import BaseModel, ConfigDict, Field

from bundles.bundle import MANIFEST
from bundles.manifest import Manifest, Users
from export.bundle import Exported
from export.card import CARD, write_card
from export.figures import figures
from training.comparison.table import Comparison
from training.personal.run import PersonalRun
from training.tables.tables import Tables


class Part(BaseModel):
    """Of the metadata specified in modelcard.md of huggingface/hub-docs, that which a card has."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Named(Part):
    type: str = Field(min_length=1)
    name: str = Field(min_length=1)


class Dataset(Named):
    split: str


class Value(Named):
    value: float


class Result(Part):
    task: Named
    dataset: Dataset
    metrics: list[Value] = Field(min_length=1)


class Model(Part):
    name: str
    results: list[Result] = Field(min_length=1)


class Metadata(Part):
    library_name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    tags: list[str] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)
    model_index: list[Model] = Field(alias="model-index", min_length=1, max_length=1)


def told(exported: Exported) -> str:
    return (exported.folder / CARD).read_text("utf-8")


def head(text: str) -> dict[str, Any]:
    _, metadata, _ = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    read: dict[str, Any] = yaml.safe_load(metadata)
    return read


@pytest.mark.parametrize("name", ["exported", "personal_bundle"])
def test_the_head_is_as_specified_and_is_read_by_hugging_face(
    request: pytest.FixtureRequest, name: str
) -> None:
    exported: Exported = request.getfixturevalue(name)
    [model] = Metadata.model_validate(head(told(exported))).model_index
    read = ModelCard(told(exported), ignore_metadata_errors=False)
    assert isinstance(read.data, ModelCardData)
    found = read.data.eval_results
    assert found is not None
    values = {each.metric_type: each.metric_value for each in found}
    assert values == {each.type: each.value for each in model.results[0].metrics}
    assert read.data.model_name == "anime 1"


def test_the_manifest_lists_the_card_with_its_hash(personal_bundle: Exported) -> None:
    manifest = Manifest.read(personal_bundle.folder / MANIFEST)
    content = (personal_bundle.folder / CARD).read_bytes()
    assert manifest.files[CARD].sha256 == hashlib.sha256(content).hexdigest()


def test_its_figures_are_those_of_the_run_with_their_intervals(
    personal: PersonalRun, personal_bundle: Exported
) -> None:
    comparison = Comparison.load(personal.evaluation_file)
    assert comparison is not None
    ours = {row.model: row for row in comparison.lines}["wide and deep"]
    # Where β is 0 the whole model is wide and deep.
    ours = {row.model: row for row in comparison.lines}.get("and the rating", ours)
    text = told(personal_bundle)
    for name, heading in (("ndcg", "NDCG@10"), ("rmse", "RMSE")):
        low, high = ours.intervals[name]
        assert re.search(
            rf"\| {heading}: [^|]+ \| {ours[name]:.3f} \| {low:.3f} to {high:.3f} \|", text
        )
        groups = {group for group, size in comparison.groups.items() if size["users"]}
        assert {"female", "male", "gender not stated", "20 to 99", "tail"} <= groups
        for group in groups:
            low, high = ours.apart_intervals[name][group]
            cell = f"{ours.apart[name][group]:.3f} ({low:.3f} to {high:.3f})"
            [line] = [
                each for each in text.splitlines() if re.match(rf"\| .*\b{group}\b.* \|", each)
            ]
            assert cell in line
    [coverage] = re.findall(r"([\d.]+)% of the anime stand in anybody's ten", text)
    assert float(coverage) == pytest.approx(100 * (ours["coverage"] or 0), abs=0.05)


def test_it_tells_of_users_what_the_bundle_holds(
    personal: PersonalRun, personal_bundle: Exported, tables: Tables, tmp_path: Path
) -> None:
    manifest = Manifest.read(personal_bundle.folder / MANIFEST)
    assert manifest.users is not None
    assert f"of {manifest.users.count:,} users user_id, gender" in told(personal_bundle)
    write_card(tmp_path, personal, tables, replace(manifest, users=Users(0, ())))
    assert "| holds of single users | nothing |" in (tmp_path / CARD).read_text("utf-8")


def test_what_an_earlier_run_did_not_measure_is_said_not_to_be(
    personal: PersonalRun, personal_bundle: Exported, tables: Tables, tmp_path: Path
) -> None:
    manifest = Manifest.read(personal_bundle.folder / MANIFEST)
    earlier = json.loads(json.dumps(manifest.metrics))
    for group in ("female", "male", "non-binary", "gender not stated"):
        del earlier["groups"][group]
    for line in earlier["lines"]:
        for name in ("ndcg_apart_intervals", "rmse_apart_intervals"):
            del line[name]
    write_card(tmp_path, personal, tables, replace(manifest, metrics=earlier))
    text = (tmp_path / CARD).read_text("utf-8")
    not_measured = " | ".join(["not measured"] * 4)
    assert f"| stated gender | {not_measured} |" in text
    assert "By gender: not measured" in text
    write_card(tmp_path, personal, tables, replace(manifest, metrics={"lines": [{}]}))
    text = (tmp_path / CARD).read_text("utf-8")
    assert "by popularity of the anime: not measured" in text
    assert "model-index" not in head(text)


def test_groups_whose_intervals_lie_apart_are_said_to(personal_bundle: Exported) -> None:
    metrics = json.loads(json.dumps(Manifest.read(personal_bundle.folder / MANIFEST).metrics))
    assert metrics["groups"]["female"]["users"] >= 30
    ours = metrics["lines"][-3]
    ours["model"] = "and the rating"
    metrics["lines"] = [ours]
    for female, said in ((0.1, "lie apart for female and male"), (0.5, "overlap")):
        ours["ndcg_apart_intervals"] |= {"female": [female, female + 0.1], "male": [0.4, 0.55]}
        [sentence] = [each for each in figures(metrics).fairness if "intervals of NDCG@10" in each]
        assert said in sentence
