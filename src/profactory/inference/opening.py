"""A saved model, single or an ensemble, as a predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profactory.config.methods import METHODS
from profactory.errors import ConfigError
from profactory.inference.engines.choosing import make_engine
from profactory.inference.ensemble import Ensemble
from profactory.inference.predictor import Predictor
from profactory.models.ensembles import ensemble_fingerprint, is_ensemble, load_ensemble
from profactory.models.protein_model import ProteinModel
from profactory.models.saving import saved_fingerprint


def open_predictor(
    directory: Path,
    *,
    engine: str = "torch",
    device: str = "auto",
    precision: str = "fp32",
    rows: int = 0,
    trust_remote_code: bool = False,
    **options: Any,
) -> Predictor:
    """Load what a run's ``model`` folder holds.

    Parameters
    ----------
    directory
        The folder.
    engine
        See :func:`profactory.inference.engines.choosing.make_engine`; ensembles are computed by torch.
    device, precision
        As for :class:`Predictor`.
    rows
        Sequences to predict, if that is known.
    trust_remote_code
        Run Python code from the backbone's repository, for families that need it.
    **options
        As for :class:`Predictor`.

    Raises
    ------
    ModelLoadError
        As :func:`profactory.models.saving.load_model`.
    """
    if is_ensemble(directory):
        if engine not in ("torch", "auto"):
            raise ConfigError(f"The engine {engine} computes single models.", fix="leave --engine out")
        members = load_ensemble(directory, trust_remote_code=trust_remote_code)
        fingerprint = ensemble_fingerprint(directory)
        return Ensemble(*members, device=device, precision=precision, fingerprint=fingerprint, **options)
    model = ProteinModel.load(directory, trust_remote_code=trust_remote_code)
    fingerprint = saved_fingerprint(directory)
    if engine != "torch" or not METHODS[model.method].quantised:  # merged, it would take what four bits save
        model.merge()
    made = make_engine(model, engine, device=device, precision=precision, fingerprint=fingerprint, rows=rows)
    return Predictor(model, engine=made, fingerprint=fingerprint, **options)
