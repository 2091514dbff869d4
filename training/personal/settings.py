"""The `personal` preset as data: crosses, network and optimiser."""

import math
from typing import Literal

from pydantic import Field

from training.settings import Optimisation, Settings
from training.splits import Rule

# Of more users the penalties grow with the root of how many there are, as what is by chance in a
# count does, and weights are drawn less towards zero. For 400 users or 1,000 smaller penalties than
# for 3,000 were worse on validation.
RATERS = 4_000


class PersonalSettings(Settings):
    """The `personal` preset: crosses of the history with the candidate, and two heads.

    `cross_l1`, `cross_l2`, `cross_weights`: of the item-item model, its penalties, in users (of
    4,000; of more they grow with the root), and the most weights kept of a row. `user_exponent`:
    a user of n ratings weighs n^-exponent in it. `content_weight`, `title_weight`: what a shared
    value and shared words or letters of titles weigh in it, in users. `alike`: on how many anime
    most like a candidate its rating leans.
    `dump_aggregates`: also learn from the dump's own counts and means of users and anime. They
    hold every held-out rating, so that all figures flatter.
    `id_dropout`: how often an id is hidden, so that "unknown" is learnt. A batch is of users.
    `weight_decay`: how strongly the tables of ids are drawn towards zero, of 4,000 users; of more
    it falls with the root.
    `epoch_steps`: an epoch is every user who rates once, but no more steps than this; the next one
    goes on with users who have not had their turn. So a run takes epochs times as many at most.
    `split_by`: what is held out: some ratings of every user, users or anime whole, or nothing.
    """

    name: Literal["personal"]
    label: Literal["rating"] = "rating"
    cross_l1: float = Field(default=4.0, ge=0)
    cross_l2: float = Field(default=20.0, gt=0)
    cross_weights: int = Field(default=64, ge=1)
    user_exponent: float = Field(default=0.25, ge=0)
    content_weight: float = Field(default=1.0, ge=0)
    title_weight: float = Field(default=5.0, ge=0)
    alike: int = Field(default=64, ge=1)
    dump_aggregates: bool = False
    embedding_dim: int = Field(default=96, ge=1)
    hidden: tuple[int, int] = (128, 64)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    id_dropout: float = Field(default=0.3, ge=0, lt=1)
    epoch_steps: int = Field(default=200, ge=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    split_by: Rule = "ratings"
    optimisation: Optimisation = Optimisation(
        learning_rate=0.003, schedule="cosine", batch_size=128, epochs=24
    )


def beyond(raters: int) -> float:
    """The root of how many times `RATERS` there are, at least 1."""
    return max(1.0, math.sqrt(raters / RATERS))


PERSONAL = PersonalSettings(name="personal")
