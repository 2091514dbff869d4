"""The served graph's tables as compiled code reads them."""

import numpy as np
from numpy.typing import NDArray

from bundles.crosses import Crosses
from bundles.tables import SCALARS, PersonalTables
from training.folding.layers import narrow
from training.personal.features.profiles import FAR
from training.personal.served.ranker import PersonalRanker


def served_tables(ranker: PersonalRanker, crosses: Crosses) -> PersonalTables:
    """The tables of `ranker`, whose crosses are `crosses`."""
    buffers: dict[str, NDArray[np.float64]] = {
        name: tensor.double().numpy() for name, tensor in ranker.state_dict().items()
    }

    def columns(*names: str) -> NDArray[np.float64]:
        return np.column_stack([buffers[name] for name in names])

    scalars = {name: float(buffers[name]) for name in SCALARS if name in buffers}
    scalars |= {"user_damping": crosses.wide.damping, "far": FAR}
    known = ranker.user_rows.rows.numpy()
    hidden_bias = buffers["hidden.1.bias"] + buffers["blend.bias"]
    return PersonalTables(
        user_rows=known,
        user=ranker.user_profile.numpy(),
        watched=columns("watched_vectors", "expected"),
        anime=columns("anime_vectors", "expected", "appeal", "popular", "rated"),
        tower_in=narrow(columns("tower.0.weight", "tower.0.bias")),
        tower_out=narrow(columns("tower.1.weight", "tower.1.bias")),
        genders=buffers["gender_units"],
        numbers=columns("number_units", "profile_mean", "profile_scale"),
        from_user=narrow(columns("from_user.weight", "from_user.bias")),
        from_anime=narrow(np.stack([buffers["from_anime"], buffers["from_product"]])),
        from_signals=np.vstack([buffers["from_signals.weight"], buffers["blend.weight"]]),
        hidden=narrow(columns("hidden.0.weight", "hidden.0.bias")),
        last=np.append(buffers["hidden.1.weight"], hidden_bias),
        # Unused places point at the row of unknown anime, with weight 0.
        alike=np.maximum(ranker.alike[1:].numpy() - 1, 0).astype(np.int32),
        likeness=ranker.likeness[1:].numpy(),
        genre_numbers=np.stack(
            [buffers[f"genre_{name}"] for name in ("liking", "watching", "usual")]
        ),
        scalars=np.array([scalars[name] for name in SCALARS]),
        crossed=crosses.candidate,
        cross_weights=crosses.weight,
        genre=crosses.genre,
    )
