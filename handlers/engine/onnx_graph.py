"""The served graph in ONNX Runtime."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anirank.errors import BundleError, DeviceUnavailable
from bundles.bundle import AFFINITY, ONNX, Bundle
from bundles.graph import INPUTS, OUTPUTS, Inputs, Outputs
from handlers.engine.external_data import check_external_data
from handlers.engine.graph import CPU_CELLS, GPU_CELLS, cuda_index, one_line


class OnnxGraph:
    """A bundle's `ranker.onnx`."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, device: str = "cpu", threads: int = 1) -> None:
        """Load it on `device`, "cpu" or "cuda[:i]", with `threads` to compute one batch.

        Raises BundleError where the file is no graph, DeviceUnavailable where the device is not.
        """
        import onnxruntime as ort  # here, since a façade over TorchServe need not have it

        index = cuda_index(device)
        self.cells = CPU_CELLS if index is None else GPU_CELLS
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
        self._ort_session = partial(ort.InferenceSession, sess_options=options, providers=providers)
        self._bundle = bundle
        self._takes_no_history = index is None
        path = bundle.graph_file(ONNX)
        check_external_data(path)
        self._session = self._open(path, list(OUTPUTS))
        if index is not None and self._session.get_providers()[0] != "CUDAExecutionProvider":
            raise DeviceUnavailable(f"{device}: ONNX Runtime fell back to the CPU")
        # At once: whoever put the files there may take them away later.
        self._affinity = self._open_affinity()

    def run(self, inputs: Inputs) -> Outputs:
        """Score one batch; see `Graph.run`."""
        outputs = self._session.run(list(OUTPUTS), self._fed(inputs))
        return dict(zip(OUTPUTS, outputs, strict=True))

    def affinity(self, inputs: Inputs) -> NDArray[np.float32]:
        """The affinity alone; see `Graph.affinity`."""
        [found] = self._affinity.run(["affinity"], self._fed(inputs))
        affinity: NDArray[np.float32] = found
        return affinity

    def _fed(self, inputs: Inputs) -> Inputs:
        fed = {name: inputs[name] for name in INPUTS}
        if not self._takes_no_history and not fed["history_ids"].shape[1]:
            # On CUDA, ONNX Runtime 1.31 refuses to sum over nothing; one place of padding is
            # nothing too.
            users = len(fed["user_id"])
            fed["history_ids"] = np.zeros((users, 1), np.int64)
            fed["history_ratings"] = np.full((users, 1), np.nan, np.float32)
        return fed

    def _open_affinity(self) -> Any:
        """A session of the part that the affinity needs, which maps its tables from `ranker.onnx`.

        ONNX Runtime computes every node of a model whatever outputs are asked for
        (https://github.com/microsoft/onnxruntime/issues/16013): of a bundle without the part, the
        whole graph answers, later.
        """
        if not self._bundle.has(AFFINITY):
            return self._session
        self._bundle.graph_file(ONNX)  # raises where it has changed
        path = self._bundle.graph_file(AFFINITY)
        check_external_data(path, allowed=ONNX)
        session = self._open(path, ["affinity"])
        of = session.get_modelmeta().custom_metadata_map.get("anirank.part_of")
        if of != self._bundle.manifest.files[ONNX].sha256:
            raise BundleError(f"{path}: part of a {ONNX} of SHA-256 {of}, not of the one beside it")
        return session

    def _open(self, path: Path, outputs: list[str]) -> Any:
        try:
            session = self._ort_session(path)
        except Exception as error:  # ONNX Runtime's exceptions share no class of its own
            raise BundleError(f"{path}: ONNX Runtime cannot load it ({one_line(error)})") from error
        for side, found, right in (
            ("inputs", session.get_inputs(), list(INPUTS)),
            ("outputs", session.get_outputs(), outputs),
        ):
            names = [each.name for each in found]
            if names != right:
                raise BundleError(
                    f"{path}: {side} are {', '.join(names)}; should be {', '.join(right)}"
                )
        return session
