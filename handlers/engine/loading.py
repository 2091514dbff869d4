"""A bundle as an engine in this process: what `anirank.load` is."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from anirank.errors import naming_the_extra
from bundles.bundle import Bundle
from handlers.engine.engine import Engine
from handlers.engine.onnx_graph import OnnxGraph


@naming_the_extra()
def load(
    folder: str | PathLike[str],
    *,
    device: str = "cpu",
    threads: int = 1,
    trust: Sequence[Path] = (),
) -> Engine:
    """Verify the bundle in `folder`, model_store/NAME/VERSION, and load its ONNX graph.

    engine = anirank.load("model_store/anime/1")
    [ranking] = engine.rank([Query(user_id=366396, top_k=5)])

    device: cpu, cuda or cuda:INDEX. threads: that compute one batch. trust: PEM files of public
    keys, one of which must have signed the bundle. Raises BundleError, SignatureError,
    DeviceUnavailable, and ExtraMissing where onnxruntime is not installed, or cryptography for
    `trust`.
    """
    bundle = Bundle.open(Path(folder), trust=trust)
    return Engine(bundle, OnnxGraph(bundle, device, threads))
