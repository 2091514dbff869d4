"""The served graph in TorchScript."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anirank.errors import BundleError, DeviceUnavailable
from bundles.bundle import TORCHSCRIPT, Bundle
from bundles.graph import INPUTS, OUTPUTS, Inputs, Outputs, quiet_torchscript
from handlers.engine.graph import CPU_CELLS, GPU_CELLS, cuda_index, one_line


class TorchScriptGraph:
    """A bundle's `ranker.ts`."""

    name = "torchscript"

    def __init__(self, bundle: Bundle, device: str = "cpu", threads: int = 1) -> None:
        """Load it on `device`, "cpu" or "cuda[:i]"; `threads` holds for the whole process.

        Raises BundleError where the file is no graph, DeviceUnavailable where the device is not.
        """
        index = cuda_index(device)
        if index is not None and index >= torch.cuda.device_count():
            raise DeviceUnavailable(f"{device}: torch sees {torch.cuda.device_count()} GPUs")
        torch.set_num_threads(threads)
        self.cells = CPU_CELLS if index is None else GPU_CELLS
        self._device = torch.device("cpu" if index is None else f"cuda:{index}")
        path = bundle.graph_file(TORCHSCRIPT)
        try:
            with quiet_torchscript():
                self._module = torch.jit.load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError) as error:
            raise BundleError(f"{path}: TorchScript cannot load it ({one_line(error)})") from error

    def run(self, inputs: Inputs) -> Outputs:
        """Score one batch; see `Graph.run`."""
        outputs = self._run(self._module, inputs)
        return {name: output.cpu().numpy() for name, output in zip(OUTPUTS, outputs, strict=True)}

    def affinity(self, inputs: Inputs) -> NDArray[np.float32]:
        """The affinity alone; see `Graph.affinity`."""
        affinity: NDArray[np.float32] = self._run(self._affinity, inputs).cpu().numpy()
        return affinity

    @cached_property
    def _affinity(self) -> Any:
        with quiet_torchscript():
            scripted = torch.jit.script(_Affinity(self._module).eval())
            # Frozen, it has lost the operations that this output does not need. Its tables are
            # those of the whole graph, and none of its numbers is changed.
            return torch.jit.freeze(scripted, optimize_numerics=False)

    def _run(self, module: Any, inputs: Inputs) -> Any:
        with torch.inference_mode():
            tensors = (
                torch.from_numpy(inputs[name]).to(self._device, non_blocking=True)
                for name in INPUTS
            )
            return module(*tensors)


class _Affinity(torch.nn.Module):
    """The graph with one output."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def forward(
        self,
        user_id: Tensor,
        history_ids: Tensor,
        history_ratings: Tensor,
        profile: Tensor,
        candidate_ids: Tensor,
    ) -> Tensor:
        """float32[B, N]; the inputs are those of the graph."""
        # In the order of `bundles.graph.OUTPUTS`, which a script cannot look up.
        _, affinity, _, _ = self.whole(
            user_id, history_ids, history_ratings, profile, candidate_ids
        )
        found: Tensor = affinity
        return found
