"""The served graph for small places: tables of a few bits a number, and nobody's in it.

Of each anime fewer crosses and fewer of those alike are kept, and all numbers are rounded: to steps
of which a table holds how many. Vectors are turned to their principal axes before, where most of
them are small, so that a compressed file spends few bits on most (docs/embedding.md has what each
of this costs).

What is rounded becomes a model like any other. So the graph is held to it as the whole graph is to
the trained one, in float64: the same numbers in the same order everywhere.
"""

import copy
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from training.folding.layers import IdMap, look_up
from training.interactions.expectation import Expectation
from training.interactions.interactions import Ties
from training.personal.features.profiles import Profiles
from training.personal.model import POPULAR, PersonalModel
from training.personal.served.ranker import PersonalRanker, folded_tables
from training.tables.tables import Tables


class Sizes(NamedTuple):
    """How small each thing is made; a step is what a number is a multiple of.

    crosses, alike: how many are kept of each anime; cross_steps, alike_steps: from 0 to the largest
    of their weights. vector_step, watched_step: of the root mean square of a table's numbers.
    layer_steps: from 0 to the largest weight of a layer. appeal_step, expected_step, rated_step:
    powers of two, since float32 has what is a multiple of them.
    """

    crosses: int
    alike: int
    cross_steps: int
    alike_steps: int
    vector_step: float
    watched_step: float
    layer_steps: int
    appeal_step: float
    expected_step: float
    rated_step: float


# Chosen on validation: `python -m benchmarks.training.light`.
CHOSEN = Sizes(64, 16, 127, 255, 0.7, 0.9, 127, 2.0**-6, 2.0**-8, 2.0**-8)
CROSSING = ("crossed", "cross_weights")  # tables that leave rows out
OFFSET = 2**15  # what is taken off a row of the catalogue so that int16 holds it


class Rounded(NamedTuple):
    """A model whose numbers are rounded, and what they are made of.

    steps: by the buffer of the ranker, the number that it holds multiples of. axes: by the same,
    codes int[A, R] and float64[R, D], whose product is the table.
    """

    model: PersonalModel
    steps: Mapping[str, float]
    axes: Mapping[str, tuple[np.ndarray, np.ndarray]]


def rounded(model: PersonalModel, sizes: Sizes = CHOSEN) -> Rounded:
    """A model of smaller tables, to which everybody is a new user; its network is in float64."""
    tables = {name: table[1:].numpy() for name, table in folded_tables(model).items()}
    axes = {
        "anime_vectors": _axes(tables["anime_vectors"], sizes.vector_step),
        "watched_vectors": _axes(tables["watched_vectors"], sizes.watched_step),
    }
    crosses = _largest(model.ties.crosses, sizes.crosses)
    alike = _largest(sp.csr_array(model.ties.alike.T), sizes.alike)
    steps = {
        "cross_weights": _step(crosses.data, sizes.cross_steps),
        "likeness": _step(alike.data, sizes.alike_steps),
        "appeal": sizes.appeal_step,
        "expected": sizes.expected_step,
        "rated": sizes.rated_step,
        "popular": POPULAR,
    }
    made = model.without_users()
    made.ties = Ties(
        _to_steps(crosses, steps["cross_weights"]),
        sp.csr_array(_to_steps(alike, steps["likeness"]).T),
    )
    mean = float(_multiple(model.expectation.mean, sizes.expected_step))
    expected = _multiple(tables["expected"], sizes.expected_step)
    made.expectation = Expectation(mean, expected - mean)
    made.network = copy.deepcopy(model.network).double().requires_grad_(False)
    anime = len(expected)
    made.anime = model.anime._replace(
        ids=torch.arange(1, anime + 1),
        content=torch.zeros_like(model.anime.content),
        expected=torch.from_numpy(expected.astype(np.float32)),
    )
    vectors = {name: codes @ decoder for name, (codes, decoder) in axes.items()}
    numbers = {name: _multiple(tables[name], steps[name]) for name in ("appeal", "rated")}
    _fill(made, vectors | numbers, sizes.layer_steps)
    return Rounded(made, steps, axes)


def scoring(model: PersonalModel) -> PersonalModel:
    """A rounded model that scores as others do, in float32."""
    made = copy.copy(model)
    made.network = copy.deepcopy(model.network).float()
    return made


class LightRanker(PersonalRanker):
    """`PersonalRanker` of a rounded model, whose tables hold how many steps each number is."""

    watched_vectors_axes: Tensor
    anime_vectors_axes: Tensor
    crossing: Tensor
    zero: Tensor

    def __init__(self, rounded: Rounded, profiles: Profiles, tables: Tables) -> None:
        super().__init__(rounded.model, profiles, tables)
        self.steps = dict(rounded.steps)
        self.offset = OFFSET if len(tables.anime) < 2 * OFFSET else 0
        self.register_buffer("zero", torch.zeros(1, 1, dtype=torch.float64))
        self.anime_rows = _OffsetRows(self.anime_rows.rows, self.offset)
        for name, weights in (("crossed", "cross_weights"), ("alike", "likeness")):
            # The largest first: compressed, they take less room than in the catalogue's order.
            order = getattr(self, weights).abs().sort(dim=1, descending=True, stable=True).indices
            self.register_buffer(weights, getattr(self, weights).gather(1, order))
            rows = getattr(self, name).gather(1, order)
            self.register_buffer(name, _offset(rows, self.offset))
        self._leave_out_empty_rows()
        self.appeal[0] = self.steps["appeal"] * torch.iinfo(torch.int16).min  # as good as none
        for name, step in self.steps.items():
            codes = getattr(self, name).double() / step
            self.register_buffer(name, codes.float() if name == "popular" else _narrow(codes))
        for name, (codes, decoder) in rounded.axes.items():
            unknown = np.zeros((1, codes.shape[1]))
            self.register_buffer(name, _narrow(torch.from_numpy(np.vstack([unknown, codes]))))
            self.register_buffer(f"{name}_axes", torch.from_numpy(decoder))
        for name, step in self.steps.items():
            self.register_buffer(f"{name}_step", torch.tensor(step, dtype=torch.float64))

    def _leave_out_empty_rows(self) -> None:
        """Of the crosses: what nobody has watched crosses to nothing."""
        some = torch.nonzero(self.cross_weights.any(dim=1)).flatten()
        place = torch.zeros(len(self.cross_weights), dtype=torch.float64)
        place[some] = torch.arange(1, len(some) + 1, dtype=torch.float64)
        self.register_buffer("crossing", _narrow(place))
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), some])
        for name in CROSSING:
            self.register_buffer(name, getattr(self, name)[kept])

    def _of(self, table: str, rows: Tensor) -> Tensor:
        found = super()._of(table, self._within(table, rows))
        if table == "watched_vectors":
            return found @ self.watched_vectors_axes
        return found * getattr(self, f"{table}_step") if table in self.steps else found

    def _rows_of(self, table: str, rows: Tensor) -> Tensor:
        return super()._rows_of(table, self._within(table, rows)) + self.offset

    def _within(self, table: str, rows: Tensor) -> Tensor:
        """Where rows of the catalogue stand in a table."""
        return look_up(self.crossing, rows).long() if table in CROSSING else rows

    def _toward(self, users: Tensor) -> Tensor:
        return users @ self.anime_vectors_axes.T

    def _nothing(self, users: Tensor) -> Tensor:
        return self.zero.expand(users.shape[0], self.expected.shape[0])


class _OffsetRows(IdMap):
    """Raw ids to rows, of a table that holds them less an offset."""

    def __init__(self, rows: Tensor, offset: int) -> None:
        super().__init__(np.empty(0, dtype=np.int64))
        self.register_buffer("rows", _offset(rows, offset))
        self.offset = offset

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) + self.offset


def _offset(rows: Tensor, offset: int) -> Tensor:
    return (rows - offset).to(torch.int16) if offset else rows


def _narrow(codes: Tensor) -> Tensor:
    """Whole numbers in the narrowest type that holds them."""
    least, most = float(codes.min()), float(codes.max())
    for kind in (torch.int8, torch.uint8, torch.int16, torch.int32):
        if torch.iinfo(kind).min <= least and most <= torch.iinfo(kind).max:
            found = codes.round().to(kind)
            assert torch.equal(found.double(), codes), "are no whole numbers of steps"
            return found
    raise AssertionError(f"{least} to {most} are beyond int32")


def _axes(vectors: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Codes, float64[A, R] whole numbers, and what they are multiplied by, float64[R, D].

    `share`: of the root mean square of float64[A, D], what a step is.
    """
    step = share * float(np.sqrt(np.square(vectors).mean()))
    axes = np.linalg.eigh(vectors.T @ vectors)[1].T[::-1]
    codes = np.round(vectors @ axes.T / step)
    used = codes.any(axis=0)
    return codes[:, used], step * axes[used]


def _largest(matrix: sp.csr_array, kept: int) -> sp.csr_array:
    """The `kept` largest of each row by magnitude; ties by place."""
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-np.abs(matrix.data), row))  # stable
    place = np.empty(len(row), dtype=np.int64)
    place[order] = np.arange(len(row)) - matrix.indptr[row]
    chosen = place < kept
    parts = (matrix.data[chosen], (row[chosen], matrix.indices[chosen]))
    return sp.csr_array(sp.coo_array(parts, shape=matrix.shape))


def _step(values: np.ndarray, steps: int) -> float:
    """The largest of `values` in so many steps; of 16 bits, so that multiples are in float32."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    mantissa, exponent = np.frexp(largest / steps)
    return float(np.ldexp(np.ceil(mantissa * 2**16), int(exponent) - 16))


def _multiple(values: np.ndarray | float, step: float) -> np.ndarray:
    return np.asarray(np.round(np.asarray(values) / step) * step)


def _to_steps(matrix: sp.csr_array, step: float) -> sp.csr_array:
    data = _multiple(matrix.data.astype(np.float64), step).astype(np.float32)
    found = sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)
    found.eliminate_zeros()
    return found


def _fill(made: PersonalModel, tables: Mapping[str, np.ndarray], steps: int) -> None:
    """Put the tables in place of ids and content, and round the layers."""
    network = made.network
    places = {
        "anime_vectors": (network.anime_id, network.anime_content),
        "watched_vectors": (network.watched_id, network.watched_content),
        "appeal": (network.appeal_id, network.appeal_content),
        "rated": (network.rated_id, None),
    }
    for name, (ids, content) in places.items():
        ids.weight[1:] = torch.from_numpy(tables[name]).view(len(tables[name]), -1)
        if content is not None:
            content.weight.zero_()
            content.bias.zero_()
    for layer in (*network.tower, *network.mlp, network.blend):
        for weights in layer.parameters():
            found = weights.numpy()
            weights.copy_(torch.from_numpy(_multiple(found, _step(found, steps))))
