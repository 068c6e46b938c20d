"""Training: of a predictor, of a language model, of many to choose from; and going on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.api.using import load, predict
from profactory.config import PretrainConfig, TrainConfig
from profactory.errors import ConfigError
from profactory.files import read_json
from profactory.runs import Run, whole_of

if TYPE_CHECKING:
    from profactory.inference.predictor import Predictor


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


class SweptRun(TrainedRun):
    """A finished sweep; as a run it is its winner."""

    @property
    def sweep(self) -> dict[str, Any]:
        """What was tried: ``trials`` with their validation values, ``winner``, ``monitor``."""
        content: dict[str, Any] = read_json(self.path / "report" / "sweep.json")
        return content


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
