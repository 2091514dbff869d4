"""A TorchServe handler as most are written: JSON in, TorchScript, JSON out, a request at a time."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from ts.torch_handler.base_handler import BaseHandler


class PlainHandler(BaseHandler):  # type: ignore[misc]  # ts ships no types
    """TorchServe's own base loads the model and calls the three steps."""

    def initialize(self, context: Any) -> None:
        """Load the model, and what the score is made of."""
        super().initialize(context)
        torch.set_num_threads(1)  # the server and its client share the cores
        folder = Path(context.system_properties["model_dir"])
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.beta, self.mean = manifest["score"]["beta"], manifest["score"]["mean"]
        self.profile = torch.full((1, len(manifest["profile"])), torch.nan)

    def preprocess(self, data: list[dict[str, Any]]) -> tuple[Tensor, ...]:
        """The one request of a batch of one, as tensors."""
        body: Any = data[0].get("body") or data[0].get("data")
        request = body if isinstance(body, dict) else json.loads(body)
        history = request.get("history", [])
        self.top_k = request.get("top_k") or len(request["candidate_ids"])
        return (
            torch.tensor([request.get("user_id") or 0]),
            torch.tensor([[item["anime_id"] for item in history]], dtype=torch.int64),
            torch.tensor([[item.get("rating", torch.nan) for item in history]]),
            self.profile,
            torch.tensor([request["candidate_ids"]]),
        )

    def inference(self, data: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The best candidates: ids, scores and ratings."""
        with torch.inference_mode():
            rating, affinity, _, _ = self.model(*data)
            score = affinity + self.beta * (rating - self.mean)
            best, places = score[0].topk(min(self.top_k, score.shape[1]))
            return data[4][0][places], best, rating[0][places]

    def postprocess(self, data: tuple[Tensor, ...]) -> list[dict[str, Any]]:
        """One JSON object."""
        names = ("anime_id", "score", "rating")
        rows = zip(*(values.tolist() for values in data), strict=True)
        return [{"ranking": [dict(zip(names, row, strict=True)) for row in rows]}]
