"""A toy regression problem for the training loop: small, with dropout, exact arithmetic irrelevant."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from profactory.data.batching import BatchPlan, Indices
from profactory.errors import StoppedError
from profactory.runs import Run
from profactory.training.loop import fit
from profactory.training.state import FitResult, FitSettings


class ToyModel(nn.Module):
    """A frozen layer, dropout, a norm with running statistics left out, and a trained layer."""

    def __init__(self, width: int = 6, dropout: float = 0.2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(width, width)
        self.body.requires_grad_(False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 1)

    def values(self, x: Tensor) -> Tensor:
        """Return predictions (batch,)."""
        return self.head(self.dropout(torch.tanh(self.body(x)))).squeeze(-1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the summed squared error."""
        return (self.values(x) - y).square().sum()


class ToySource:
    """Random inputs with lengths, so that batches differ in size."""

    def __init__(self, n: int = 50, *, tokens: int = 60, seed: int = 0) -> None:
        rng = np.random.default_rng(1)
        self.x = torch.tensor(rng.normal(size=(n, 6)), dtype=torch.float32)
        self.y = torch.tensor(rng.normal(size=n), dtype=torch.float32)
        self.batches = BatchPlan(rng.integers(3, 20, n), tokens=tokens, seed=seed)
        self.loaded: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def plan(self, epoch: int) -> list[Indices]:
        """See BatchSource."""
        return self.batches.epoch(epoch)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """See BatchSource."""
        self.loaded.append(indices.tolist())
        return {"x": self.x[indices], "y": self.y[indices]}

    def weight(self, indices: Indices) -> float:
        """See BatchSource."""
        return float(len(indices))

    def rows(self, indices: Indices) -> list[int]:
        """See BatchSource: line 1 is the header."""
        return [int(i) + 2 for i in indices]


def toy_fit(
    path: Path,
    *,
    model: ToyModel | None = None,
    source: ToySource | None = None,
    resume: bool = False,
    **settings: Any,
) -> tuple[ToyModel, Run, FitResult]:
    """Train the toy in a run at `path`; a CPU, 3 epochs, unless said otherwise."""
    model = model or ToyModel()
    source = ToySource() if source is None else source
    run = Run.open(path) if (path / "status.json").exists() else Run.create(path, {"data": "toy"})

    def validate() -> dict[str, float]:
        return {"loss": float((model.values(source.x) - source.y).square().mean())}

    chosen = FitSettings(**{"epochs": 3, "learning_rate": 0.05, "device": "cpu", **settings})
    with run.lock():
        result = fit(model, source, validate, run, chosen, resume=resume)
    return model, run, result


class Interrupting(ToySource):
    """Breaks off when a number of micro-batches has been loaded."""

    def __init__(self, after: int, how, **options) -> None:
        super().__init__(**options)
        self.after, self.how = after, how

    def load(self, indices):
        if len(self.loaded) == self.after:
            self.how()
        return super().load(indices)


def fit_until_signal(after: int, number: signal.Signals, path: Path, options: Mapping[str, Any]) -> None:
    """Train until a signal comes, in a process of its own; its exit code is that of the error."""
    source = Interrupting(after, lambda: signal.raise_signal(number))
    try:
        toy_fit(path, source=source, **options)
    except StoppedError as stopped:
        (path / "loaded").write_text(str(len(source.loaded)))
        sys.exit(stopped.exit_code)
