"""Weights of an ONNX graph as 8-bit integers."""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from profactory.inference.export.graph import METADATA, ONE_FILE_BYTES, require_onnx


def quantize_int8(graph: Path, file: Path, about: Mapping[str, Any]) -> None:
    """Write a graph with its matrices as 8-bit integers; activations are quantised as they come.

    Parameters
    ----------
    graph
        As :func:`profactory.inference.export.graph.write_onnx` wrote it.
    file
        To write.
    about
        JSON for the metadata of the new graph.
    """
    require_onnx()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=file.parent) as folder, _quiet():
        made = Path(folder, "quantized.onnx")
        large = graph.with_name(graph.name + ".data").is_file()
        quantize_dynamic(
            graph,
            made,
            op_types_to_quantize=["MatMul", "Gemm"],
            # Unsigned: products of signed weights saturate on processors without VNNI, silently.
            weight_type=QuantType.QUInt8,
            per_channel=True,
            use_external_data_format=large,
        )
        model = onnx.load(made)
        del model.metadata_props[:]
        entry = model.metadata_props.add()
        entry.key, entry.value = METADATA, json.dumps(dict(about))
        big = model.ByteSize() > ONE_FILE_BYTES
        onnx.save(model, file, save_as_external_data=big, location=file.name + ".data" if big else None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep advice on preprocessing, which the library gives to the root logger, from the user."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
