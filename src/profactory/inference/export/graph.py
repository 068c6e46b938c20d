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
from profactory.tasks import TaskKind

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

INPUTS = ("input_ids", "attention_mask", "lengths")
OUTPUT, EMBEDDING = "outputs", "sequence_embedding"
#: Key of our JSON among the metadata of a graph.
METADATA = "profactory"
#: A graph in one file cannot be larger than 2 GB; larger weights go into a file beside it.
ONE_FILE_BYTES = 1_500_000_000


class Answer(nn.Module):
    """A model with what comes behind its head: calibrated probabilities, or values in the user's units.

    Parameters
    ----------
    model
        The model, its adapter merged.
    """

    def __init__(self, model: ProteinModel) -> None:
        super().__init__()
        self.model = model
        self.temperature = model.calibration.temperature

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> Tensor:
        """Return ``(batch, outputs)``, or ``(batch, length, outputs)`` for residue tasks."""
        outputs: Tensor = self.model(input_ids, attention_mask, lengths)
        if not self.model.task.is_classification:
            return outputs
        if self.model.task.kind is TaskKind.MULTI_LABEL:
            return (outputs / self.temperature).sigmoid()
        return (outputs / self.temperature).softmax(-1)


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
        `model` itself, for its logits, an :class:`Embedded`, or an :class:`Answer`.
    model
        On the processor, its adapter merged.
    file
        ``.onnx``; weights beyond 1.5 GB go into a file beside it.
    about
        JSON that is put into the graph's metadata.
    """
    require_onnx()
    batch = model.backbone.collate(model.backbone.tokenize(["MKTAYIAKQR", "ACDEFGHIKLMN"], model.max_length))
    samples, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    with _quiet(), torch.no_grad(), _translated():
        program = torch.onnx.export(
            module.eval(),
            (batch.input_ids, batch.attention_mask, batch.lengths),
            input_names=list(INPUTS),
            output_names=[OUTPUT, EMBEDDING] if isinstance(module, Embedded) else [OUTPUT],
            dynamic_shapes=({0: samples, 1: tokens}, {0: samples, 1: tokens}, {0: samples}),
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave no program")
        program.model.metadata_props[METADATA] = json.dumps(dict(about))
        size = sum(weight.numel() * weight.element_size() for weight in module.parameters())
        program.save(str(file), external_data=size > ONE_FILE_BYTES)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn a failure of the exporter into our error."""
    try:
        yield
    except RuntimeError as error:
        raise ExportError(
            f"The model cannot be written as an ONNX graph: {str(error).strip().splitlines()[0]}",
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
