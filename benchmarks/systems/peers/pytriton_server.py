"""Triton behind PyTriton with the ONNX file: binary tensors, dynamic batches without delay."""

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.systems.peers.onnx_ranker import Array, OnnxRanker

LARGEST_BATCH = 64
MODEL = "ranker"
TOP_K = 10


def main() -> None:
    """Serve until SIGTERM; arguments: a bundle, workers, the ports of gRPC, HTTP and metrics."""
    bundle, workers = Path(sys.argv[1]), int(sys.argv[2])
    grpc_port, http_port, metrics_port = map(int, sys.argv[3:6])
    config = TritonConfig(
        http_address="127.0.0.1",
        grpc_address="127.0.0.1",
        metrics_address="127.0.0.1",
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name=MODEL,
            infer_func=[_worker(bundle) for _ in range(workers)],
            inputs=[
                Tensor(name="user_id", dtype=np.int64, shape=(1,)),
                Tensor(name="history_ids", dtype=np.int64, shape=(-1,)),
                Tensor(name="history_ratings", dtype=np.float32, shape=(-1,)),
                Tensor(name="candidate_ids", dtype=np.int64, shape=(-1,)),
            ],
            outputs=[
                Tensor(name="anime_ids", dtype=np.int64, shape=(-1,)),
                Tensor(name="scores", dtype=np.float32, shape=(-1,)),
                Tensor(name="ratings", dtype=np.float32, shape=(-1,)),
            ],
            config=ModelConfig(
                max_batch_size=LARGEST_BATCH,
                batcher=DynamicBatcher(max_queue_delay_microseconds=0),
            ),
        )
        triton.run()
        print("ready", flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _worker(bundle: Path) -> Any:
    """What PyTriton calls, each in a thread of its own."""
    ranker = OnnxRanker(bundle)

    @batch  # type: ignore[untyped-decorator]  # not installed here
    def infer(
        user_id: Array, history_ids: Array, history_ratings: Array, candidate_ids: Array
    ) -> dict[str, Array]:
        found = ranker.best(user_id[:, 0], history_ids, history_ratings, candidate_ids, TOP_K)
        return dict(zip(("anime_ids", "scores", "ratings"), found, strict=True))

    return infer


if __name__ == "__main__":
    main()
