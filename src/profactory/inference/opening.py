"""A saved model, single or an ensemble, as a predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from profactory.inference.ensemble import Ensemble
from profactory.inference.predictor import Predictor
from profactory.models.ensembles import ensemble_fingerprint, is_ensemble, load_ensemble
from profactory.models.protein_model import ProteinModel
from profactory.models.saving import saved_fingerprint


def open_predictor(directory: Path, **options: Any) -> Predictor:
    """Load what a run's ``model`` folder holds.

    Parameters
    ----------
    directory
        The folder.
    **options
        As for :class:`Predictor`.

    Raises
    ------
    ModelLoadError
        As :func:`profactory.models.saving.load_model`.
    """
    if is_ensemble(directory):
        return Ensemble(*load_ensemble(directory), fingerprint=ensemble_fingerprint(directory), **options)
    return Predictor(
        ProteinModel.load(directory).merge(), fingerprint=saved_fingerprint(directory), **options
    )
