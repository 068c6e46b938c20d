"""Embeddings of a file of sequences, from the cache that training shares, streamed into a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import ConfigError, Problem, RunExistsError
from profactory.files import disk_room, ensure_room, remove_leftovers
from profactory.inference.engines.torch_engine import choose_device, choose_dtype
from profactory.inference.partial import working_alone
from profactory.models.design import Design
from profactory.models.pooling import POOLINGS
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import ModelSpec
from profactory.pipeline.embed_input import UsableRows, usable_rows
from profactory.sharing.embedding_files import Embeddings, check_format, write_embeddings
from profactory.tasks import Task, TaskKind
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.features import Features
from profactory.training.loss_model import FrozenEncoder

NO_POOLING = "none"
#: What a model is embedded for does not matter: its head is never used.
_TASKS = {True: Task(TaskKind.RESIDUE_REGRESSION), False: Task(TaskKind.REGRESSION)}
_BLOCK = 1024
_KEPT = "what was computed is in the cache, and the same command goes on from there"

log = logging.getLogger("profactory")


@dataclass
class EmbedReport:
    """What was written.

    Parameters
    ----------
    out
        The file.
    rows, width
        Sequences with an embedding, and numbers per vector.
    failed, problems
        Rows without one, and why; at most 1,000 of them.
    plot
        The UMAP picture, if one was asked for.
    """

    out: Path
    rows: int
    width: int
    failed: int = 0
    problems: list[Problem] = field(default_factory=list)
    plot: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "out": str(self.out),
            "rows": self.rows,
            "width": self.width,
            "failed": self.failed,
            "problems": [problem.to_dict() for problem in self.problems],
            "plot": None if self.plot is None else str(self.plot),
        }

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [f"{self.rows:,} embeddings of {self.width:,} numbers: {self.out}"]
        if self.failed:
            lines.append(f"{self.failed:,} rows have none:")
            lines += [f"  - {problem}" for problem in self.problems[:20]]
        return "\n".join(lines + ([] if self.plot is None else [f"plot: {self.plot}"]))


def embed_file(
    model: ModelSpec | Path,
    source: str,
    out: Path,
    *,
    pooling: str = "mean",
    layer: int = -1,
    max_length: int | None = None,
    sequence_column: str | None = None,
    overwrite: bool = False,
    umap: Path | None = None,
    color_by: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    trust_remote_code: bool = False,
) -> EmbedReport:
    """Embed a file; see :func:`profactory.api.embed`. `model` may be the folder of a trained one."""
    check_format(out)
    where = choose_device(device)
    choose_dtype(precision, where)
    _check(out, pooling, overwrite, umap, color_by)
    remove_leftovers(out)
    with (
        disk_room(out, _KEPT),
        working_alone(out) as place,
        usable_rows(source, place / "rows", sequence_column=sequence_column, color_by=color_by) as read,
    ):
        probe = embedding_model(model, pooling, layer, max_length, trust_remote_code)
        spelling = probe.backbone.family.spelling
        if spelling.structure and not (spelling.structure_prefix or probe.backbone.family.needs_structure):
            name = probe.backbone.spec.name
            log.info("%s is told that the structures are unknown; embed reads sequences alone.", name)
        encoder = FrozenEncoder(probe, device=where, precision=precision)
        made = Embeddings(
            blocks=lambda: _blocks(encoder, read),
            width=encoder.width,
            lengths=read.lengths(encoder.max_length) if encoder.per_residue else None,
            rows=read.rows,
            names=read.names,
        )
        ensure_room(out, made.nbytes, _KEPT)
        write_embeddings(out, made)
        if umap is not None:
            from profactory.evaluation.embedding_plot import plot_embeddings

            vectors = np.concatenate(list(_blocks(encoder, read)))
            plot_embeddings(vectors, umap, read.colors, title=color_by or "")
    return EmbedReport(out, len(read.rows), encoder.width, read.failed, read.problems, umap)


def check_pooling(pooling: str) -> None:
    """Refuse a pooling that has parameters to learn.

    Raises
    ------
    ConfigError
    """
    known = [name for name, kind in POOLINGS.items() if getattr(kind, "parameter_free", False)]
    if pooling not in (*known, NO_POOLING):
        raise ConfigError(
            f"No pooling {pooling!r} makes embeddings.", expected=", ".join([*known, NO_POOLING])
        )


def _check(out: Path, pooling: str, overwrite: bool, umap: Path | None, color_by: str | None) -> None:
    """Refuse what cannot be before anything is read."""
    check_pooling(pooling)
    for file in (out, umap):
        if file is not None and file.exists() and not overwrite:
            raise RunExistsError(f"{file} exists already.", fix="choose another path, or add --overwrite")
    if color_by and umap is None:
        raise ConfigError("--color-by is for the plot.", fix="add --umap plot.png")
    if umap is not None and pooling == NO_POOLING:
        raise ConfigError("The plot shows one point per sequence.", fix="--pooling mean")
    if umap is not None:
        from profactory.evaluation.embedding_plot import require_umap

        require_umap()


def embedding_model(
    model: ModelSpec | Path,
    pooling: str,
    layer: int,
    max_length: int | None,
    trust_remote_code: bool = False,
) -> ProteinModel:
    """Return a model with a frozen backbone, whose features are the embeddings.

    Parameters
    ----------
    model
        A pre-trained one, or the folder of a trained one.
    pooling, layer, max_length, trust_remote_code
        As for :func:`profactory.api.embed`.

    Raises
    ------
    ConfigError, ModelLoadError
    """
    residues = pooling == NO_POOLING
    task, wanted = _TASKS[residues], None if residues else pooling
    if isinstance(model, ModelSpec):
        options: dict[str, Any] = {"layer": layer, "max_length": max_length, "pooling": wanted}
        return ProteinModel.build(model, task, trust_remote_code=trust_remote_code, **options)
    trained = ProteinModel.load(model, trust_remote_code=trust_remote_code).merge()
    if layer != -1 or trained.extra_inputs.structures or trained.mix is not None:
        raise ConfigError(
            "Embeddings of a trained model are those that its head reads, without other layers or inputs.",
            fix="give the backbone's name for any layer of it",
        )
    backbone = trained.backbone
    backbone.requires_grad_(False)
    backbone.method = "freeze"  # its weights, adapted or not, are what they are from here on
    length = max_length or trained.max_length
    backbone.check_max_length(length)
    return ProteinModel.assemble(backbone, task, Design(pooling=wanted, max_length=length, head_hidden=0))


def _blocks(encoder: FrozenEncoder, read: UsableRows) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of all rows in order, some at a time; what the cache has not is computed."""
    cache = EmbeddingCache()
    for sequences in read.parts(encoder.max_length):
        yield from _stored(cache.get(encoder, sequences, in_memory=False))


def _stored(features: Features) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(features), _BLOCK):
        samples = np.arange(start, min(start + _BLOCK, len(features)))
        if not features.per_residue:
            yield features.vectors(samples).numpy()
            continue
        yield np.concatenate(
            [
                features.blocks[block][start : start + length]
                for block, start, length in zip(
                    *features.place(samples), features.lengths[samples], strict=True
                )
            ]
        )
