"""The served graph's tables as compiled code reads them."""

import numpy as np

from bundles.tables import SeedTables
from training.folding.layers import narrow
from training.seed.served.ranker import SeedRanker


def served_tables(ranker: SeedRanker) -> SeedTables | None:
    """The tables of `ranker`; None where it has more or fewer layers than the recipe's."""
    if len(ranker.hidden) != 2:
        return None
    table = {name: tensor.double().numpy() for name, tensor in ranker.state_dict().items()}
    hidden, deeper = (
        np.column_stack([table[f"hidden.{i}.weight"], table[f"hidden.{i}.bias"]]) for i in (0, 1)
    )
    return SeedTables(
        user_rows=ranker.user_rows.rows.numpy(),
        user=np.column_stack([table["user_profile"], table["user_wide"]]),
        genders=table["gender_wide"][:, None],
        numbers=np.stack([table["profile_mean"], table["profile_scale"]]),
        anime=np.column_stack([table["anime_hidden"], table["anime_wide"]]),
        from_user=narrow(table["first_user.weight"]),
        hidden=narrow(hidden),
        deeper=narrow(deeper),
        last=table["last.weight"][0],
    )
