"""The served graph, run by ONNX Runtime or by TorchScript."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from handlers.errors import BundleError, DeviceUnavailable
from handlers.manifest import INPUTS, OUTPUTS

Arrays = dict[str, NDArray[Any]]


class Graph(Protocol):
    """What runs the graph; it may be called from several threads at once."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch.

        inputs: user_id int64[B], history_ids int64[B, H], history_ratings float32[B, H],
        profile float32[B, P], candidate_ids int64[B, N].
        Returns rating, affinity and wide float32[B, N], and known bool[B, N].
        """


class OnnxGraph:
    """The graph in ONNX Runtime."""

    def __init__(self, path: Path, device: str = "cpu", threads: int = 1) -> None:
        """Load `path` on `device`, "cpu" or "cuda[:i]", with `threads` to compute one batch.

        Raises BundleError where the file is no graph, DeviceUnavailable where the device is not.
        """
        import onnxruntime as ort  # here, since TorchServe's Python need not have it

        index = _cuda_index(device)
        providers: list[Any] = ["CPUExecutionProvider"]
        if index is not None:
            if "CUDAExecutionProvider" not in ort.get_available_providers():
                raise DeviceUnavailable(f"{device}: needs onnxruntime-gpu, found onnxruntime")
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # ONNX Runtime's exceptions share no class of its own
            raise BundleError(f"{path}: ONNX Runtime cannot load it ({_line(error)})") from error
        if index is not None and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceUnavailable(f"{device}: ONNX Runtime fell back to the CPU")

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch; see `Graph.run`."""
        outputs = self._session.run(OUTPUTS, {name: inputs[name] for name in INPUTS})
        return dict(zip(OUTPUTS, outputs, strict=True))


class TorchScriptGraph:
    """The graph in TorchScript."""

    def __init__(self, path: Path, device: str = "cpu", threads: int = 1) -> None:
        """Load `path` on `device`, "cpu" or "cuda[:i]"; `threads` holds for the whole process.

        Raises BundleError where the file is no graph, DeviceUnavailable where the device is not.
        """
        import torch  # here, since an installation that serves ONNX need not have it

        index = _cuda_index(device)
        if index is not None and index >= torch.cuda.device_count():
            raise DeviceUnavailable(f"{device}: torch sees {torch.cuda.device_count()} GPUs")
        torch.set_num_threads(threads)
        self._torch = torch
        self._device = torch.device("cpu" if index is None else f"cuda:{index}")
        try:
            with warnings.catch_warnings():
                # torch 2.13 deprecates TorchScript as a whole; TorchServe serves nothing newer.
                warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
                load: Any = torch.jit.load  # ships without types
                self._module = load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: TorchScript cannot load it ({_line(error)})") from error

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch; see `Graph.run`."""
        with self._torch.inference_mode():
            tensors = (
                self._torch.from_numpy(inputs[name]).to(self._device, non_blocking=True)
                for name in INPUTS
            )
            outputs = self._module(*tensors)
        return {name: output.cpu().numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}


def _cuda_index(device: str) -> int | None:
    kind, colon, index = device.partition(":")
    if kind == "cuda" and (index.isdecimal() or not colon):
        return int(index or 0)
    if device == "cpu":
        return None
    raise DeviceUnavailable(f"{device}: should be cpu, cuda or cuda:INDEX")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
