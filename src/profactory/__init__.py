"""From a table of protein sequences to a validated, shareable predictor.

>>> import profactory
>>> run = profactory.train("data.csv")  # doctest: +SKIP
>>> run.metrics["test"]["accuracy"]  # doctest: +SKIP
>>> run.predict("new.csv", out="predictions.csv")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from profactory.api import (
        PretrainedRun,
        SweptRun,
        TrainedRun,
        check,
        embed,
        evaluate,
        export,
        extract_structures,
        load,
        predict,
        pretrain,
        push,
        recommend,
        resume,
        sweep,
        train,
    )
    from profactory.config import PretrainConfig, TrainConfig
    from profactory.errors import ProFactoryError

__all__ = [
    "PretrainConfig",
    "PretrainedRun",
    "ProFactoryError",
    "SweptRun",
    "TrainConfig",
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
    "recommend",
    "resume",
    "sweep",
    "train",
]
__version__ = metadata.version("profactory")

_HOMES = {
    "PretrainConfig": "profactory.config",
    "ProFactoryError": "profactory.errors",
    "TrainConfig": "profactory.config",
}


def __getattr__(name: str) -> Any:
    """Import public names when first used, so that `import profactory` costs nothing."""
    if name not in __all__:
        raise AttributeError(f"module 'profactory' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "profactory.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
