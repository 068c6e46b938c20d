"""OpenVINO on the processor."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import MissingExtraError
from profactory.inference.engines.onnx_engine import processor_threads
from profactory.inference.export.graph import graph_inputs

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch

_HINTS = {"fp32": "f32", "bf16": "bf16"}


def openvino() -> Any:
    """Import OpenVINO without its telemetry.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    if importlib.util.find_spec("openvino") is None:
        raise MissingExtraError("The engine OpenVINO", "export")
    os.environ.setdefault("OPENVINO_TELEMETRY", "0")
    import openvino as runtime

    return runtime


class OpenVinoEngine:
    """A graph of ONNX or OpenVINO; see :class:`profactory.inference.engines.Engine`.

    Parameters
    ----------
    file
        ``.onnx`` or ``.xml``.
    precision
        ``fp32`` or ``bf16`` of the computation.
    """

    name = "openvino"
    on_processor = True

    def __init__(self, file: Path, precision: str = "fp32") -> None:
        runtime = openvino()
        self.precision = precision
        options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": processor_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._model = runtime.Core().compile_model(str(file), "CPU", options)

    def describe(self) -> str:
        """Return what computes, for people."""
        return f"OpenVINO {self.precision} on cpu"

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the graph's outputs; see :class:`profactory.inference.engines.Engine`."""
        return self._outputs(batch)[0]

    def run_embedded(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return outputs and embeddings; see :class:`profactory.inference.engines.Engine`."""
        outputs, embeddings = self._outputs(batch)
        return outputs, embeddings

    def _outputs(self, batch: TokenBatch) -> list[NDArray[np.float32]]:
        found = self._model(graph_inputs(batch))
        return [np.array(found[place], np.float32) for place in range(len(found))]
