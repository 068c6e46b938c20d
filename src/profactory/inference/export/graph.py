"""A trained model as an ONNX graph of any batch size and length."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from profactory.errors import ExportError, MissingExtraError
from profactory.inference.export.answers import unknown_strings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from profactory.models.batch import TokenBatch
    from profactory.models.protein_model import ProteinModel

INPUTS = ("input_ids", "attention_mask", "lengths")
OUTPUT, EMBEDDING = "outputs", "sequence_embedding"
#: Key of our JSON among the metadata of a graph.
METADATA = "profactory"
#: A graph in one file cannot be larger than 2 GB; larger weights go into a file beside it.
ONE_FILE_BYTES = 1_500_000_000


class Embedded(nn.Module):
    """A model whose answer is that of its head, and the embeddings.

    Parameters
    ----------
    model
        The model, its adapter merged.
    """

    def __init__(self, model: ProteinModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and ``(batch, width)``."""
        return self.model.forward_embedded(input_ids, attention_mask, lengths)


def require_onnx() -> None:
    """Refuse to go on without the packages of the extra ``export``.

    Raises
    ------
    MissingExtraError
        Naming what to install.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"ONNX (the package {package})", "export")


def write_onnx(module: nn.Module, model: ProteinModel, file: Path, about: Mapping[str, Any]) -> None:
    """Write a module with a model's inputs as an ONNX graph.

    Parameters
    ----------
    module
        `model` itself, for its logits, an :class:`Embedded`, or an answer of
        :mod:`profactory.inference.export.answers`.
    model
        Whose inputs they are; on the processor, its adapter merged.
    file
        ``.onnx``; weights beyond 1.5 GB go into a file beside it.
    about
        JSON that is put into the graph's metadata.
    """
    require_onnx()
    sequences = ["MKTAYIAKQR", "ACDEFGHIKLMN"]
    batch = model.collate(model.prepare(sequences, unknown_strings(model, sequences)))
    around = batch.input_ids.shape[1] - int(batch.lengths.max())  # special tokens
    samples, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens", min=around + 1)
    residues = tokens - around if around else tokens
    beside = tuple(
        {0: samples, 1: residues} if _per_residue(one) else {0: samples} for one in batch.extras.values()
    )
    with _quiet(), torch.no_grad(), _translated():
        program = torch.onnx.export(
            module.eval(),
            (batch.input_ids, batch.attention_mask, batch.lengths, *batch.extras.values()),
            input_names=[*INPUTS, *batch.extras],
            output_names=[OUTPUT, EMBEDDING] if isinstance(module, Embedded) else [OUTPUT],
            dynamic_shapes=(
                {0: samples, 1: tokens},
                {0: samples, 1: tokens},
                {0: samples},
                *((beside,) if beside else ()),
            ),
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave no program")
        program.model.metadata_props[METADATA] = json.dumps(dict(about))
        size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
        program.save(str(file), external_data=size > ONE_FILE_BYTES)


def graph_inputs(batch: TokenBatch) -> dict[str, NDArray[Any]]:
    """Return the arrays of a batch under the names of a graph's inputs."""
    tensors = dict(zip(INPUTS, (batch.input_ids, batch.attention_mask, batch.lengths), strict=True))
    return {name: tensor.numpy() for name, tensor in {**tensors, **batch.extras}.items()}


def _per_residue(extra: Tensor) -> bool:
    """Tell a code for each residue from numbers of the whole sequence."""
    return not extra.is_floating_point()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn a failure of the exporter into our error."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error.__cause__ or error).strip().splitlines()
        raise ExportError(
            f"The model cannot be written as an ONNX graph: {reason[0] if reason else type(error).__name__}",
            fix="--format merged or zip; please report this with the model's name",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's report about packages and steps to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
