"""A bundle as an engine in this process: what `anirank.load` is."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from anirank.errors import DeviceUnavailable, naming_the_extra
from bundles.bundle import Bundle, as_of
from bundles.manifest import Manifest
from handlers.engine.engine import Engine
from handlers.engine.graph_scorer import GraphScorer
from handlers.engine.query import Limits
from handlers.engine.scorer import Scorer, can_compile


@naming_the_extra()
def load(
    folder: str | PathLike[str],
    *,
    engine: str = "auto",
    device: str = "cpu",
    threads: int = 1,
    trust: Sequence[Path] = (),
) -> Engine:
    """Verify the bundle in `folder`, model_store/NAME/VERSION, and load what computes for it.

    engine = anirank.load("model_store/anime/1")
    [ranking] = engine.rank([Query(user_id=366396, top_k=5)])

    engine: compiled, onnxruntime, or auto, which is compiled where it can be: on a CPU, with Numba,
    of a bundle that has tables. device: cpu, cuda or cuda:INDEX. threads: that compute one batch.
    trust: PEM files of public keys, one of which must have signed the bundle. Raises BundleError,
    SignatureError, DeviceUnavailable, and ExtraMissing where what computes is not installed, or
    cryptography for `trust`.
    """
    bundle = Bundle.open(Path(folder), trust=trust)
    with as_of(Path(folder), bundle.folder):
        return engine_of(bundle, engine, device, threads)


def engine_of(
    bundle: Bundle,
    engine: str = "auto",
    device: str = "cpu",
    threads: int = 1,
    limits: Limits | None = None,
) -> Engine:
    """An engine over a bundle; the arguments as in `load`.

    Raises BundleError and DeviceUnavailable.
    """
    return Engine(bundle, _scorer(bundle, engine, device, threads), limits)


def compiles(manifest: Manifest, engine: str = "auto", device: str = "cpu") -> bool:
    """Whether an engine is compiled code, and needs no graph; the arguments as in `load`."""
    return engine == "compiled" or (engine == "auto" and device == "cpu" and can_compile(manifest))


def _scorer(bundle: Bundle, engine: str, device: str, threads: int) -> Scorer:
    # What is not asked for is not imported, since it need not be installed.
    if compiles(bundle.manifest, engine, device):
        if device != "cpu":
            raise DeviceUnavailable(f"{device}: compiled code runs on the CPU, ONNX Runtime there")
        from handlers.engine.compiled.scorer import CompiledScorer

        return CompiledScorer(bundle, threads)
    from handlers.engine.onnx_graph import OnnxGraph

    return GraphScorer(bundle, OnnxGraph(bundle, device, threads))
