"""The bundle's ONNX file as PyTriton and LitServe run it: a batch in, the best of each row out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]


class OnnxRanker:
    """Ranks with one thread, as the façade does."""

    def __init__(self, bundle: Path) -> None:
        """Load the graph of a bundle."""
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        self._beta, self._mean = manifest["score"]["beta"], manifest["score"]["mean"]
        self._profile = len(manifest["profile"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            bundle / "ranker.onnx", options, providers=["CPUExecutionProvider"]
        )

    def best(
        self, user_id: Array, history_ids: Array, ratings: Array, candidates: Array, top_k: int
    ) -> tuple[Array, Array, Array]:
        """Ids int64[B, K], blended scores and ratings float32[B, K], best first.

        user_id: int64[B]; history_ids, ratings: int64[B, H] and float32[B, H], NaN = not rated;
        candidates: int64[B, N].
        """
        rating, affinity = self._session.run(
            ["rating", "affinity"],
            {
                "user_id": user_id,
                "history_ids": history_ids,
                "history_ratings": ratings,
                "profile": np.full((len(user_id), self._profile), np.nan, np.float32),
                "candidate_ids": candidates,
            },
        )
        score = affinity + np.float32(self._beta) * (rating - np.float32(self._mean))
        order = np.argsort(-score, axis=1, kind="stable")[:, :top_k]
        found: list[Array] = [np.take_along_axis(v, order, 1) for v in (candidates, score, rating)]
        return found[0], found[1], found[2]
