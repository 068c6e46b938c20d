"""ONNX Runtime on the processor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from profactory.inference.export.graph import graph_inputs, require_onnx

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch


class OnnxEngine:
    """An ONNX graph; see :class:`profactory.inference.engines.Engine`.

    Parameters
    ----------
    file
        The graph.
    precision
        ``fp32`` or ``int8``, which the graph decides.
    """

    name = "onnx"
    on_processor = True

    def __init__(self, file: Path, precision: str = "fp32") -> None:
        require_onnx()
        import onnxruntime

        self.precision = precision
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = processor_threads()
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def describe(self) -> str:
        """Return what computes, for people."""
        return f"ONNX Runtime {self.precision} on cpu"

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the graph's outputs; see :class:`profactory.inference.engines.Engine`."""
        return self._outputs(batch)[0]

    def run_embedded(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return outputs and embeddings; see :class:`profactory.inference.engines.Engine`."""
        outputs, embeddings = self._outputs(batch)
        return outputs, embeddings

    def _outputs(self, batch: TokenBatch) -> list[NDArray[np.float32]]:
        found = self._session.run(None, graph_inputs(batch))
        return [np.asarray(output, np.float32) for output in found]


def processor_threads() -> int:
    """Return how many threads compute: as many as torch uses."""
    import torch

    return min(torch.get_num_threads(), os.cpu_count() or 1)
