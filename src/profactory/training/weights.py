"""What of a model is trained, as named tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from profactory.errors import CheckpointError
from profactory.training.optimizers import trainable
from profactory.training.sharding import part_of


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters, and the buffers that are saved (running means and the like)."""
    saved = model.state_dict(keep_vars=True)
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    return {**dict(trainable(model)), **buffers}


def shapes(model: nn.Module) -> dict[str, list[int]]:
    """Return the shapes of the trained tensors."""
    return {name: list(tensor.shape) for name, tensor in trained_tensors(model).items()}


def load_trained(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`trained_tensors` gave, in place.

    Raises
    ------
    CheckpointError
        The tensors are those of another model.
    """
    mine = trained_tensors(model)
    fits = mine.keys() == tensors.keys() and all(mine[n].shape == tensors[n].shape for n in mine)
    if not fits:
        raise CheckpointError(
            "The checkpoint holds the weights of another model.",
            expected=f"{len(mine):,} tensors with the names and shapes of this one",
            fix="resume the run with the model and method that it was started with",
        )
    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(part_of(tensors[name], tensor))
