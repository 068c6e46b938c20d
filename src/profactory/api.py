"""The public functions. The command line and the page call these and nothing below them.

Importing this module is cheap; what needs torch is imported when a function is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from profactory.config import PretrainConfig, TrainConfig
from profactory.errors import ConfigError, NotARunError
from profactory.files import read_json
from profactory.runs import Run, whole_of

if TYPE_CHECKING:
    from profactory.data.checking import DataReport
    from profactory.inference.export.report import ExportReport
    from profactory.inference.file_report import FileReport
    from profactory.inference.predictor import Predictor
    from profactory.pipeline.embed import EmbedReport
    from profactory.structure.extraction import StructureReport

__all__ = [
    "PretrainedRun",
    "SweptRun",
    "TrainedRun",
    "check",
    "embed",
    "evaluate",
    "export",
    "extract_structures",
    "load",
    "predict",
    "pretrain",
    "push",
    "resume",
    "sweep",
    "train",
]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Parameters
    ----------
    path
        The run directory.
    """

    path: Path

    @property
    def metrics(self) -> dict[str, Any]:
        """What was measured: ``metrics["test"]["mcc"]["value"]``, and ``low``, ``high`` beside it."""
        metrics: dict[str, Any] = read_json(self.path / "report" / "metrics.json")
        return metrics

    @property
    def report(self) -> Path:
        """The report, a page that needs nothing but a browser."""
        return self.path / "report" / "report.html"


class PretrainedRun(FinishedRun):
    """A finished pretraining; ``metrics["validation"]["perplexity"]["value"]``."""

    @property
    def model(self) -> Path:
        """The language model's folder: for ``model=`` of :func:`train`, or ``from_pretrained``."""
        return self.path / "model"


class TrainedRun(FinishedRun):
    """A finished training."""

    def load(self) -> Predictor:
        """Return the trained model, ready to predict sequences in memory."""
        return load(self.path)

    def predict(self, source: str | Path | Sequence[str], **options: Any) -> Any:
        """Predict; see :func:`predict`."""
        return predict(self.path, source, **options)


def train(
    data: str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> TrainedRun:
    """Train, evaluate and report.

    Parameters
    ----------
    data
        File, folder with train, validation and test files, or ``bundled:NAME``.
    out
        Run directory to make; named after data, model and method under ``runs/`` if not given.
    overwrite
        Replace a run at `out`.
    **settings
        Fields of :class:`profactory.TrainConfig`.

    Returns
    -------
    TrainedRun
        Its ``metrics``, ``report`` and ``predict``.

    Raises
    ------
    ProFactoryError
        Before any work for whatever cannot be used; see :mod:`profactory.errors`.

    Examples
    --------
    >>> import profactory
    >>> run = profactory.train("bundled:demo-location", epochs=2)  # doctest: +SKIP
    """
    from profactory.pipeline.train import start

    return TrainedRun(start(str(data), TrainConfig.build(settings), out=out, overwrite=overwrite).path)


def pretrain(
    sequences: str | Path,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> PretrainedRun:
    """Train a language model to predict hidden residues: a new one, or one that is continued.

    Parameters
    ----------
    sequences
        FASTA file, or a table with a sequence column.
    out
        Run directory to make; named after the file and the model under ``runs/`` if not given.
    overwrite
        Replace a run at `out`.
    **settings
        Fields of :class:`profactory.PretrainConfig`, such as ``init="mini"``.

    Returns
    -------
    PretrainedRun
        Its ``model`` is a folder for ``train(..., model=run.model)``.

    Raises
    ------
    ProFactoryError
        Before any work for whatever cannot be used. Single sequences that cannot be used are counted and
        left out.

    Examples
    --------
    >>> import profactory
    >>> run = profactory.pretrain("family.fasta", init="mini")  # doctest: +SKIP
    """
    from profactory.pipeline.pretraining import start

    config = PretrainConfig.build(settings)
    return PretrainedRun(start(str(sequences), config, out=out, overwrite=overwrite).path)


class SweptRun(TrainedRun):
    """A finished sweep; as a run it is its winner."""

    @property
    def sweep(self) -> dict[str, Any]:
        """What was tried: ``trials`` with their validation values, ``winner``, ``monitor``."""
        content: dict[str, Any] = read_json(self.path / "report" / "sweep.json")
        return content


def sweep(
    data: str | Path,
    search: Mapping[str, Any],
    *,
    trials: int | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> SweptRun:
    """Try models and settings; choose by the validation rows, measure the winner on the test rows.

    Parameters
    ----------
    data
        As for :func:`train`.
    search
        Fields of :class:`profactory.TrainConfig`: a value stays, a list holds alternatives,
        ``{"low": 1e-4, "high": 1e-2, "log": True}`` is a range.
    trials
        How many; every combination if there are no ranges, else 20.
    timeout
        Minutes after which no trial is begun.
    out, overwrite
        As for :func:`train`.

    Returns
    -------
    SweptRun
        The winner; its ``sweep`` holds all trials.

    Raises
    ------
    ConfigError
        Before any trial, for everything that cannot be tried.
    MissingExtraError
        Optuna is not installed.

    Examples
    --------
    >>> import profactory
    >>> search = {"pooling": ["mean", "max"], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}
    >>> profactory.sweep("proteins.csv", search, trials=10).metrics  # doctest: +SKIP
    """
    from profactory.pipeline.sweeping import start

    options: dict[str, Any] = {"trials": trials, "timeout": timeout, "out": out, "overwrite": overwrite}
    return SweptRun(start(str(data), search, **options).path)


def resume(run: str | Path, *, force: bool = False) -> TrainedRun | PretrainedRun:
    """Go on with a run that was stopped or killed, from its newest valid checkpoint.

    Parameters
    ----------
    run
        Run directory.
    force
        Go on with a training although its data, settings or number of threads changed; what differs is
        said. The result is then neither the one run nor the other.

    Raises
    ------
    NotARunError
        There is no run at the path.
    CheckpointError
        Data, settings or number of threads changed, so that going on would not be the same run.
    """
    opened = whole_of(Run.open(run))
    command = opened.config().get("command")
    if command == "sweep":
        from profactory.pipeline import sweeping

        if force:
            raise ConfigError("A sweep goes on as it began or not at all.", fix="leave out --force")
        return SweptRun(sweeping.go_on(opened).path)
    if command == "pretrain":
        from profactory.pipeline import pretraining

        if force:
            raise ConfigError("A pretraining goes on as it began or not at all.", fix="leave out --force")
        return PretrainedRun(pretraining.go_on(opened).path)
    from profactory.pipeline.train import go_on

    return TrainedRun(go_on(opened, force=force).path)


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    structures: str | Path | None = None,
    missing_structure: Literal["refuse", "mask"] = "refuse",
    **machine: Any,
) -> dict[str, Any]:
    """Measure a trained model on labelled data.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    data
        Labelled data in any form that :func:`train` takes.
    split
        Use only this part of divided data; all rows if None.
    out
        Folder for the report.
    overwrite
        Replace what is in `out`.
    structures, missing_structure
        As for :func:`train`, for models that read structures.
    **machine
        ``device``, ``precision``, ``tokens_per_batch``.

    Returns
    -------
    dict
        As ``report/metrics.json``: ``{"test": {"mcc": {"value", "low", "high"}, …}}``.
    """
    from profactory.pipeline.evaluate import evaluate_model
    from profactory.structure.joining import StructureJoin

    path = model_path(run)
    join = StructureJoin.open(structures, missing=missing_structure)
    return evaluate_model(path, str(data), split=split, out=out, overwrite=overwrite, join=join, **machine)


def predict(
    run: str | Path,
    source: str | Path | Sequence[str],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    sequence_column: str | None = None,
    residue_table: str | Path | None = None,
    structures: str | Path | None = None,
    missing_structure: Literal["refuse", "mask"] = "refuse",
    on_progress: Callable[[int, int], None] | None = None,
    **machine: Any,
) -> list[dict[str, Any]] | FileReport:
    """Predict for a file, or for sequences in memory.

    Work on a file that was interrupted goes on where it was when the same call is made again.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    source
        A file (str or Path; `out` is then needed), or a list of sequences.
    out
        File to write: ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl``.
    overwrite
        Replace `out`.
    sequence_column
        Column with the sequences; found by its name if not given.
    residue_table
        For residue tasks: a second file, with a row per residue.
    structures
        For models that read them: folder of coordinates or table of ``profactory structure``.
    missing_structure
        A row without one has no prediction (``refuse``), or is read with a mask (``mask``).
    on_progress
        Called with the number of rows that are done and of all rows of the file.
    **machine
        As for :func:`load`.

    Returns
    -------
    list of dict or FileReport
        Sequences: one record each. File: what was written and which rows could not be used.
    """
    from profactory.inference.tables import open_request, predict_file
    from profactory.structure.joining import StructureJoin

    if not isinstance(source, str | Path):
        return load(run, rows=len(source), **machine).predict(list(source))
    if out is None:
        raise NotARunError(
            "Predictions of a file need a place to go.",
            fix='out="predictions.csv", or give a list of sequences',
        )
    model_path(run)
    missing: Literal["mask", "empty"] = "mask" if missing_structure == "mask" else "empty"
    request = open_request(  # what can be refused is refused before the model is loaded
        source,
        out,
        sequence_column=sequence_column,
        overwrite=overwrite,
        residue_table=residue_table,
        join=StructureJoin.open(structures, missing=missing, sequence_column=sequence_column),
    )
    predictor = load(run, rows=request.rows, **machine)
    return predict_file(predictor, request, on_progress=on_progress)


def load(run: str | Path, **machine: Any) -> Predictor:
    """Load a trained model, or the ensemble of a run with folds or seeds.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    **machine
        ``engine`` (torch, openvino, onnx, auto), ``device``, ``precision``, ``tokens_per_batch`` and
        ``long``; see :func:`profactory.inference.opening.open_predictor`.
    """
    from profactory.inference.opening import open_predictor

    return open_predictor(model_path(run), **machine)


def embed(
    model: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    pooling: str = "mean",
    layer: int = -1,
    max_length: int | None = None,
    sequence_column: str | None = None,
    overwrite: bool = False,
    umap: str | Path | None = None,
    color_by: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
) -> EmbedReport:
    """Write the embeddings of the sequences of a file.

    Parameters
    ----------
    model
        A model of the catalogue, a folder, a Hub id, or a trained run.
    source
        Any table that :func:`predict` takes.
    out
        ``.npz``, ``.h5``, ``.parquet`` or ``.safetensors``.
    pooling
        ``mean``, ``max`` or ``cls`` for one vector per sequence, ``none`` for one per residue.
    layer
        Whose output is taken: -1 the last, 0 the embedding, k the k-th.
    max_length
        Residues read of a sequence; the model's usual length if not given.
    sequence_column, overwrite
        As for :func:`predict`.
    umap, color_by
        A picture of the embeddings (PNG), and the column of the input that colours it.
    device, precision
        Of the computation.
    """
    from profactory.pipeline.embed import embed_file

    return embed_file(
        str(model),
        _trained_folder(Path(model)),
        str(source),
        Path(out),
        pooling=pooling,
        layer=layer,
        max_length=max_length,
        sequence_column=sequence_column,
        overwrite=overwrite,
        umap=None if umap is None else Path(umap),
        color_by=color_by,
        device=device,
        precision=precision,
    )


def export(
    run: str | Path,
    out: str | Path,
    *,
    format: str,
    quantize: str | None = None,
    force: bool = False,
    overwrite: bool = False,
) -> ExportReport:
    """Write a trained model in another form, compared with the original.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    out
        Folder to write; for ``zip`` the file.
    format
        ``onnx``, ``openvino``, ``merged`` (a model folder with the adapter in the weights) or ``zip`` (the
        model in one file, which :func:`load` and :func:`predict` take).
    quantize
        ``int8``: weights as 8-bit integers, for ``onnx``.
    force
        Accept whatever int8 costs on the validation rows.
    overwrite
        Replace what is at `out`.

    Raises
    ------
    ExportError
        What was exported does not answer as the model does, or int8 costs too much.
    MissingExtraError
        A package for the format is not installed.
    """
    folder, target = model_path(run), Path(out)
    if format == "zip":
        from profactory.inference.export.report import ExportReport
        from profactory.sharing.bundle import write_bundle
        from profactory.sharing.model_card import facts_of

        backbone = facts_of(folder)["backbone"]
        source = "" if backbone["stored"] else f"{backbone['source']} at {backbone['revision']}"
        return ExportReport(write_bundle(folder, target, overwrite=overwrite), format, backbone=source)
    from profactory.pipeline.export import export_model

    return export_model(folder, target, format=format, quantize=quantize, force=force, overwrite=overwrite)


def extract_structures(
    sources: str | Path | Sequence[str | Path], out: str | Path, **options: Any
) -> StructureReport:
    """Write a table of what coordinates say of every chain.

    Parameters
    ----------
    sources
        PDB, mmCIF and BinaryCIF files, and folders of them.
    out, **options
        See :func:`profactory.structure.extraction.extract_structures`.
    """
    from profactory.structure import extraction

    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    return extraction.extract_structures(paths, out, **options)


def push(run: str | Path, repository: str, *, private: bool = False) -> str:
    """Share a trained model on the Hugging Face Hub, with its card.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    repository
        ``user/name``; made if it does not exist.
    private
        Make it for your eyes only.

    Returns
    -------
    str
        Address of the commit. :func:`load` takes ``"user/name"``.
    """
    from profactory.sharing.hub import push_model

    folder = model_path(run)
    of_run = (folder.parent / "data.json").is_file()
    return push_model(folder, folder.parent if of_run else None, repository, private=private)


def check(data: str | Path, **options: Any) -> DataReport:
    """Report on a table without training; see :func:`profactory.pipeline.check.check_data`."""
    from profactory.pipeline.check import check_data

    return check_data(data, **options)


def model_path(run: str | Path) -> Path:
    """Return the folder of a model: of a run, in one file, on the Hub (``user/name``), or itself.

    Raises
    ------
    NotARunError
        Neither; an unfinished run is said to be unfinished.
    """
    path = Path(run)
    if (path / "config.json").is_file():
        return path
    if path.is_file():
        from profactory.sharing.bundle import open_bundle

        return open_bundle(path)
    if _is_repository(str(run)):
        from profactory.sharing.hub import fetch_model

        return fetch_model(str(run))
    opened = Run.open(path)
    if not (opened.model_dir / "config.json").is_file():
        raise NotARunError(
            f"The run {path} has no finished model; its state is {opened.status()['state']}.",
            expected="a finished run",
            fix=f"profactory resume {path}",
        )
    return opened.model_dir


def _is_repository(name: str) -> bool:
    """Whether a name can only mean a repository of the Hub: nothing here begins like it."""
    if Path(name.split("/")[0]).exists():
        return False
    from profactory.sharing.hub import REPOSITORY

    return REPOSITORY.fullmatch(name) is not None


def _trained_folder(path: Path) -> Path | None:
    """Return the model folder of a path if it is a run, a trained model or a bundle, and not a backbone."""
    if path.is_file() or (path / "status.json").is_file():
        return model_path(path)
    config = path / "config.json"
    return path if config.is_file() and "profactory" in read_json(config) else None
