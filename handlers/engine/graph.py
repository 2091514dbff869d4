"""The served graph, run by ONNX Runtime or by TorchScript."""

import mmap
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError, DeviceUnavailable
from bundles.manifest import INPUTS, OUTPUTS
from handlers.engine.onnx_part import onnx_parts

Arrays = dict[str, NDArray[Any]]


# On a CPU, what a call passes from layer to layer then stays within its caches: beside calls of 5
# times 200 candidates, calls of 32 times 200 take a third longer for each of them. On a GPU, a
# hidden layer of 128 then takes 64 MiB.
_CPU_CELLS, _GPU_CELLS = 1_024, 65_536


class Graph(Protocol):
    """What runs the graph; it may be called from several threads at once.

    cells: candidates in one call, padding included, that are computed fastest.
    """

    cells: int

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch.

        inputs: user_id int64[B], history_ids int64[B, H], history_ratings float32[B, H],
        profile float32[B, P], candidate_ids int64[B, N].
        Returns rating, affinity and wide float32[B, N], and known bool[B, N]. What looks at the
        history (its bundle has crosses) predicts ratings within 1 to 10.
        """

    def affinity(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The affinity alone, float32[B, N], without the work that only the rating needs."""


class OnnxGraph:
    """The graph in ONNX Runtime."""

    def __init__(self, path: Path, device: str = "cpu", threads: int = 1) -> None:
        """Load `path` on `device`, "cpu" or "cuda[:i]", with `threads` to compute one batch.

        Raises BundleError where the file is no graph, DeviceUnavailable where the device is not.
        """
        import onnxruntime as ort  # here, since TorchServe's Python need not have it

        index = _cuda_index(device)
        self.cells = _CPU_CELLS if index is None else _GPU_CELLS
        providers: list[Any] = ["CPUExecutionProvider"]
        if index is not None:
            if "CUDAExecutionProvider" not in ort.get_available_providers():
                raise DeviceUnavailable(f"{device}: needs onnxruntime-gpu, found onnxruntime")
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait by spinning take the cores of whoever else works on a small machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._open = partial(ort.InferenceSession, sess_options=options, providers=providers)
        self._path = path
        try:
            self._session = self._open(path)
        except Exception as error:  # ONNX Runtime's exceptions share no class of its own
            raise BundleError(f"{path}: ONNX Runtime cannot load it ({_line(error)})") from error
        for side, found, right in (
            ("inputs", self._session.get_inputs(), INPUTS),
            ("outputs", self._session.get_outputs(), OUTPUTS),
        ):
            names = tuple(each.name for each in found)
            if names != tuple(right):
                raise BundleError(
                    f"{path}: {side} are {', '.join(names)}; should be {', '.join(right)}"
                )
        if index is not None and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceUnavailable(f"{device}: ONNX Runtime fell back to the CPU")

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch; see `Graph.run`."""
        outputs = self._session.run(OUTPUTS, {name: inputs[name] for name in INPUTS})
        return dict(zip(OUTPUTS, outputs, strict=True))

    def affinity(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The affinity alone; see `Graph.affinity`. The first call loads that part of the graph."""
        [found] = self._affinity.run(["affinity"], {name: inputs[name] for name in INPUTS})
        affinity: NDArray[np.float32] = found
        return affinity

    @cached_property
    def _affinity(self) -> Any:
        # At need only: its tables then stand in memory a second time. By way of a file, since a
        # model handed over as bytes is copied while no other thread of Python can run.
        with (
            self._path.open("rb") as whole,
            mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as model,
            tempfile.NamedTemporaryFile(suffix=".onnx", buffering=0) as part,
        ):
            _write_part(model, part)
            return self._open(part.name)


def _write_part(model: memoryview, file: IO[bytes]) -> None:
    for each in onnx_parts(model, ("affinity",)):
        left = memoryview(each)
        while left:  # a system call writes at most 2 GiB
            left = left[file.write(left) :]


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
        self.cells = _CPU_CELLS if index is None else _GPU_CELLS
        self._torch = torch
        self._device = torch.device("cpu" if index is None else f"cuda:{index}")
        try:
            with _deprecated_torchscript():
                load: Any = torch.jit.load  # ships without types
                self._module = load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: TorchScript cannot load it ({_line(error)})") from error

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Score one batch; see `Graph.run`."""
        outputs = self._run(self._module, inputs)
        return {name: output.cpu().numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    def affinity(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The affinity alone; see `Graph.affinity`."""
        affinity: NDArray[np.float32] = self._run(self._affinity, inputs).cpu().numpy()
        return affinity

    @cached_property
    def _affinity(self) -> Any:
        from handlers.engine.torchscript_part import affinity_part  # here, as torch is

        with _deprecated_torchscript():
            return affinity_part(self._module)

    def _run(self, module: Any, inputs: Mapping[str, NDArray[Any]]) -> Any:
        with self._torch.inference_mode():
            tensors = (
                self._torch.from_numpy(inputs[name]).to(self._device, non_blocking=True)
                for name in INPUTS
            )
            return module(*tensors)


@contextmanager
def _deprecated_torchscript() -> Iterator[None]:
    # torch 2.13 deprecates TorchScript as a whole; TorchServe serves nothing newer.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        yield


def _cuda_index(device: str) -> int | None:
    kind, colon, index = device.partition(":")
    if kind == "cuda" and (index.isdecimal() or not colon):
        return int(index or 0)
    if device == "cpu":
        return None
    raise DeviceUnavailable(f"{device}: should be cpu, cuda or cuda:INDEX")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
