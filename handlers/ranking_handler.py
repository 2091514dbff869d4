"""The handler of the .mar: TorchServe calls it with the requests it has gathered.

It stands at the archive's root, the package `handlers` and the folder `bundle` beside it.
"""

from pathlib import Path
from typing import Any

import torch

from handlers.body import Body
from handlers.bundle import TORCHSCRIPT, Bundle
from handlers.engine import Engine
from handlers.errors import InvalidQuery
from handlers.graph import TorchScriptGraph
from handlers.options import read_options
from handlers.query import Query


class RankingHandler:
    """Ranks; every item of every request of a batch goes through one call of the engine."""

    def initialize(self, context: Any) -> None:
        """Verify and load the bundle, and score once with it.

        Raises BundleError where the bundle or `model-config.yaml` is not as it should be.
        """
        properties = context.system_properties
        options = read_options(context.model_yaml_config)
        self._bundle = Bundle.open(Path(properties["model_dir"]) / "bundle")
        gpu = properties.get("gpu_id")
        device = f"cuda:{gpu}" if gpu is not None and torch.cuda.is_available() else "cpu"
        graph = TorchScriptGraph(self._bundle.graph_file(TORCHSCRIPT), device, options.threads)
        self._engine = Engine(self._bundle, graph, options.limits)
        self._engine.warm_up()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer each request with one reply.

        A request whose every item is wrong leaves with the status 400, which REST callers see; what
        is wrong with an item stands in its place in the reply, for gRPC callers as well.
        """
        bodies = [Body(_content(row), self._bundle) for row in data]
        queries = [item for body in bodies for item in body.items if isinstance(item, Query)]
        ranked = iter(self._engine.rank(queries))
        replies = []
        for place, body in enumerate(bodies):
            answers = [next(ranked) if isinstance(item, Query) else item for item in body.items]
            if answers and all(isinstance(answer, InvalidQuery) for answer in answers):
                context.set_response_status(400, "Bad Request", place)
            context.set_response_content_type(place, body.content_type)
            replies.append(body.write(answers))
        return replies


def _content(row: dict[str, Any]) -> Any:
    """The request's body: `body` over REST, and `body` or `data` over gRPC."""
    return row["body"] if "body" in row else row.get("data", b"")
