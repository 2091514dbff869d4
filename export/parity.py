"""Parity: the training model, the folded graph, TorchScript and ONNX give one answer."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from anirank.errors import ParityError
from bundles.graph import Inputs, Outputs
from training.folding.served import Reference
from training.loop.progress import SILENT, Stages
from training.tables.tables import Tables

# Of a rating up to 10; in proportion beyond, where only absurd users lead, as float32 itself is.
TOLERANCE = 1e-5
USERS = 64
BATCH = 4
HOSTILE = (0, -1, -(2**63), 2**63 - 1, 2**31, 2**32 + 1, 67_108_863)

# Lengths of the histories asked with.
HISTORIES = (0, 1, 3, 20, 100, 400, 2_000)

Form = Callable[[Inputs], Outputs]


@dataclass
class Parity:
    """What was compared and how far apart it was.

    largest_difference: by form; users, catalogue, requests, scores: how many; outputs: those
    compared; histories: lengths asked with, ascending.
    """

    tolerance: float
    users: int
    catalogue: int
    requests: int
    scores: int
    largest_difference: dict[str, float]
    order: str
    outputs: list[str] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)

    def compared(self) -> str:
        """What was compared, in words."""
        outputs, lengths = ", ".join(self.outputs), ", ".join(map(str, self.histories))
        return (
            f"Compared, in {self.requests} requests, order {self.order}: {self.scores:,} scores "
            f"({outputs}) of all {self.catalogue:,} anime for {self.users} users, half with "
            f"profiles of their own; histories of {lengths} anime; {len(HOSTILE)} hostile ids in "
            "the places of users, histories and candidates; and no candidates at all."
        )

    def to_dict(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return asdict(self)


def as_form(graph: nn.Module, names: tuple[str, ...]) -> Form:
    """An eager or TorchScript module as a `Form`."""

    def run(inputs: Inputs) -> Outputs:
        with torch.inference_mode():
            outputs = graph(*(torch.from_numpy(array) for array in inputs.values()))
        return dict(zip(names, (output.numpy() for output in outputs), strict=True))

    return run


def check(
    exact: Reference,
    trained: Reference,
    forms: dict[str, Form],
    batches: Sequence[Inputs],
    catalogue: int,
    stages: Stages = SILENT,
) -> Parity:
    """Compare every form with the training model: scores, order and which ids are known.

    The reference is the training model in float64, `exact`; the ratings of that model as trained,
    in float32, are held to the same tolerance. Raises ParityError at the first request where a
    form differs.
    """
    lengths = sorted({batch["history_ids"].shape[1] for batch in batches})
    report = Parity(TOLERANCE, USERS, catalogue, 0, 0, {}, "identical", histories=lengths)
    stages.begin("comparing every form with the training model", len(batches))
    sources = (exact.answer, trained.answer, *forms.values())
    for inputs, (answers, as_trained, *found) in zip(
        batches, _asked(sources, batches), strict=True
    ):
        known = answers.pop("known")
        expected = {name: answer.astype(np.float32) for name, answer in answers.items()}
        rating = as_trained["rating"]
        report.outputs = list(expected)
        _compare(report, "training model, float32", inputs, "rating", expected["rating"], rating)
        for form_name, outputs in zip(forms, found, strict=True):
            for name, answer in expected.items():
                _compare(report, form_name, inputs, name, answer, outputs[name])
                if not np.array_equal(answer, outputs[name]):  # else it is one order
                    _same_order(form_name, inputs, answer, outputs[name])
            if not np.array_equal(outputs["known"], known):
                raise ParityError(
                    f"{form_name}: {_request(inputs)}: other ids are known than in the data"
                )
        report.requests += len(known)
        report.scores += known.size * len(expected)
        stages.step()
    return report


def _asked(sources: Sequence[Form], batches: Sequence[Inputs]) -> Iterator[list[Outputs]]:
    """What each of `sources` answers to each batch.

    They are asked side by side, each on one thread: that shares out cores better than threads
    within each sum, which wait for each other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(min(threads, len(sources))) as pool:
            for inputs in batches:
                asked = [pool.submit(source, inputs) for source in sources]
                yield [answer.result() for answer in asked]
    finally:
        torch.set_num_threads(threads)


def requests(tables: Tables, profiles: np.ndarray, seed: int) -> list[Inputs]:
    """Batches over the whole catalogue for many users, then over hostile ids.

    profiles: float32[U, P], as stored.
    """
    return list(_requests(tables, profiles, seed))


def _requests(tables: Tables, profiles: np.ndarray, seed: int) -> Iterator[Inputs]:
    rng = np.random.default_rng(seed)
    catalogue = tables.anime["anime_id"].to_numpy(np.int64)
    known = rng.choice(tables.users["user_id"].to_numpy(np.int64), USERS - 4)
    users = np.concatenate([known, [0, -7, 2**63 - 1, known[0]]])
    for start in range(0, USERS, BATCH):
        # Every other batch states half of its profiles' fields, with those of other users.
        others = profiles[rng.integers(len(profiles), size=BATCH)]
        stated = rng.random(others.shape) < (0.5 if start % (2 * BATCH) else 0.0)
        profile = np.where(stated, others, np.float32(np.nan))
        candidates = np.tile(catalogue, (BATCH, 1))
        shuffled = rng.permuted(candidates, axis=1)
        yield _inputs(users[start : start + BATCH], profile, shuffled, catalogue, rng)
    hostile = rng.permutation(np.concatenate([np.repeat(HOSTILE, 3), catalogue[:5], catalogue[:5]]))
    nothing = np.full((3, profiles.shape[1]), np.nan, dtype=np.float32)
    strangers = np.array([-(2**63), users[0], 2**40])
    yield _inputs(strangers, nothing, np.tile(hostile, (3, 1)), catalogue, rng)
    yield _inputs(strangers, nothing, np.zeros((3, 1), dtype=np.int64), catalogue, rng)
    yield _inputs(strangers, nothing, np.zeros((3, 0), dtype=np.int64), catalogue, rng)


def _inputs(
    users: np.ndarray,
    profile: np.ndarray,
    candidates: np.ndarray,
    catalogue: np.ndarray,
    rng: np.random.Generator,
) -> Inputs:
    length = int(rng.choice(HISTORIES))
    # Of the catalogue mostly, some of it twice, with ids among it that nobody knows.
    history = rng.choice(catalogue, (len(users), length))
    strange = rng.random(history.shape) < 0.1
    history = np.where(strange, rng.choice(np.array(HOSTILE), history.shape), history)
    ratings = rng.choice(np.array([np.nan, *range(1, 11)], dtype=np.float32), history.shape)
    return {
        "user_id": users.astype(np.int64),
        "history_ids": history.astype(np.int64),
        "history_ratings": ratings,
        "profile": profile,
        "candidate_ids": np.ascontiguousarray(candidates, dtype=np.int64),
    }


def _compare(
    report: Parity,
    name: str,
    inputs: Inputs,
    output: str,
    expected: np.ndarray,
    found: np.ndarray,
) -> None:
    if found.shape != expected.shape:
        raise ParityError(f"{name}: {_request(inputs)}: shape {found.shape}, not {expected.shape}")
    difference = np.abs(found.astype(np.float64) - expected)
    difference /= np.maximum(np.abs(expected) / 10, 1)
    largest = float(difference.max(initial=0.0))
    if not largest <= TOLERANCE:  # a NaN is no parity either
        raise ParityError(
            f"{name}: {_request(inputs)}: {output} differs by {largest:.3g}, "
            f"allowed is {TOLERANCE:g}"
        )
    report.largest_difference[name] = max(report.largest_difference.get(name, 0.0), largest)


def _same_order(name: str, inputs: Inputs, expected: np.ndarray, found: np.ndarray) -> None:
    wanted = np.argsort(-expected, axis=1, kind="stable")
    if not np.array_equal(wanted, np.argsort(-found, axis=1, kind="stable")):
        raise ParityError(f"{name}: {_request(inputs)}: candidates come in another order")


def _request(inputs: Inputs) -> str:
    return f"users {inputs['user_id'].tolist()}, {inputs['candidate_ids'].shape[1]} candidates"
