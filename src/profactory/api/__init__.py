"""The public functions. The command line and the page call these and nothing below them.

Importing this package is cheap; what needs torch is imported when a function is called.
"""

from __future__ import annotations

from profactory.api.places import model_path
from profactory.api.sharing import export, push
from profactory.api.tables import check, extract_structures, recommend
from profactory.api.training import PretrainedRun, SweptRun, TrainedRun, pretrain, resume, sweep, train
from profactory.api.using import embed, evaluate, load, predict

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
    "model_path",
    "predict",
    "pretrain",
    "push",
    "recommend",
    "resume",
    "sweep",
    "train",
]
