"""LitServe with the ONNX file: JSON, batches of what waits."""

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np

from benchmarks.systems.peers.onnx_ranker import OnnxRanker

LARGEST_BATCH = 32
# The best of 0, 1 and 5 ms here: with 0 the worker asks without a pause, and takes a core for it.
BATCH_S = 0.001


class RankerAPI(litserve.LitAPI):  # type: ignore[misc]  # not installed here
    """One request is a JSON object, as TorchServe's handler takes it."""

    def __init__(self, bundle: Path) -> None:
        """Serve a bundle's graph."""
        super().__init__(max_batch_size=LARGEST_BATCH, batch_timeout=BATCH_S)
        self._bundle = bundle

    def setup(self, device: str) -> None:
        """In the worker's process."""
        self._ranker = OnnxRanker(self._bundle)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """JSON to arrays."""
        history = request.get("history", [])
        return {
            "user_id": request.get("user_id") or 0,
            "history_ids": np.array([item["anime_id"] for item in history], np.int64),
            "ratings": np.array([item.get("rating", np.nan) for item in history], np.float32),
            "candidates": np.array(request["candidate_ids"], np.int64),
            "top_k": request.get("top_k") or len(request["candidate_ids"]),
        }

    def batch(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows of one length; LitServe batches what came together."""
        return {
            name: np.array([each["user_id"] for each in inputs], np.int64)
            if name == "user_id"
            else max(each["top_k"] for each in inputs)
            if name == "top_k"
            else np.stack([each[name] for each in inputs])
            for name in inputs[0]
        }

    def predict(self, inputs: dict[str, Any]) -> list[list[list[Any]]]:
        """Ids, scores and ratings of each row."""
        found = self._ranker.best(**inputs)
        return [list(row) for row in zip(*(array.tolist() for array in found), strict=True)]

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One answer a request."""
        return output

    def encode_response(self, output: list[list[Any]]) -> dict[str, Any]:
        """JSON as TorchServe's handler answers it."""
        names = ("anime_id", "score", "rating")
        return {
            "ranking": [dict(zip(names, row, strict=True)) for row in zip(*output, strict=True)]
        }


if __name__ == "__main__":
    bundle, workers, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    server = litserve.LitServer(RankerAPI(bundle), accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
