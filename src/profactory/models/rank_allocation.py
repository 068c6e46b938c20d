"""AdaLoRA's other half: between optimizer steps, rank is taken from where it helps least."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from profactory.models.adapters import adapter
from profactory.models.backbone import Backbone

#: Shares of all steps before the budget begins to fall, and after it has reached its end.
BEFORE, AFTER = 0.1, 0.4
FEWEST_STEPS = 10
_MEANS = ("exp_avg_ipt", "exp_avg_unc")


class RankAllocation(nn.Module):
    """The importance of every triplet of an AdaLoRA adapter, as buffers: checkpoints hold them.

    Parameters
    ----------
    backbone
        With an AdaLoRA adapter.
    """

    rank_mask: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self._tuner: list[Any] = [adapter(backbone).base_model]  # in a list: not a part of this module
        self._worth_it = False
        self.names = [name for name, _ in self._matrices("lora_")]
        for index, (_, parameter) in enumerate(self._matrices("lora_")):
            for mean in _MEANS:
                self.register_buffer(f"{mean}_{index}", torch.zeros_like(parameter))
        ranks = sum(parameter.numel() for _, parameter in self._matrices("lora_E"))
        self.register_buffer("rank_mask", torch.ones(ranks, dtype=torch.uint8))

    @property
    def ranks(self) -> dict[str, int]:
        """Rank that each adapted layer has now."""
        return {name.split(".lora_E")[0]: sum(mask) for name, mask in self._pattern().items()}

    def plan(self, total_steps: int) -> None:
        """Set the schedule of the budget; known only when the number of steps is.

        A training of a few steps says nothing about importance; it keeps all ranks.
        """
        self._worth_it = total_steps >= FEWEST_STEPS
        config = self._config
        config.total_step = total_steps
        config.tinit, config.tfinal = int(BEFORE * total_steps), int(AFTER * total_steps)

    def after_step(self, step: int) -> None:
        """Count what the gradients of a step say and mask the least important triplets.

        To be called after the optimizer's step, before the gradients are cleared.

        Parameters
        ----------
        step
            Counted from 1.
        """
        if not self._worth_it:
            return
        allocator = self._tuner[0].rankallocator
        allocator.ipt = {}
        for mean in _MEANS:
            setattr(allocator, mean, {name: self._buffer(mean, i) for i, name in enumerate(self.names)})
        self._config.rank_pattern = self._pattern()
        self._tuner[0].update_and_allocate(step)
        for mean in _MEANS:
            for index, name in enumerate(self.names):
                values = getattr(allocator, mean).get(name)  # cleared when the last mask is set
                if values is not None:
                    self._buffer(mean, index).copy_(values)
        self._note(self._config.rank_pattern)

    def regularisation(self) -> Tensor:
        """Return how far the matrices are from orthogonal, weighted, as in the paper: a scalar."""
        parts = []
        for name, parameter in self._matrices("lora_"):
            if "lora_E" not in name:
                rows = parameter if "lora_A" in name else parameter.T  # (rank, width)
                identity = torch.eye(len(rows), device=rows.device, dtype=rows.dtype)
                parts.append(torch.linalg.matrix_norm(rows @ rows.T - identity))
        return torch.stack(parts).mean() * float(self._config.orth_reg_weight)

    @property
    def _config(self) -> Any:
        return self._tuner[0].peft_config["default"]

    def _matrices(self, mark: str) -> list[tuple[str, nn.Parameter]]:
        named = self._tuner[0].model.named_parameters()
        return [(name, parameter) for name, parameter in named if mark in name and "default" in name]

    def _buffer(self, mean: str, index: int) -> Tensor:
        buffer: Tensor = getattr(self, f"{mean}_{index}")
        return buffer

    def _pattern(self) -> dict[str, list[bool]]:
        """Return PEFT's own form of the mask."""
        sizes = [(name, parameter.numel()) for name, parameter in self._matrices("lora_E")]
        masks = self.rank_mask.bool().split([size for _, size in sizes])
        return {name: mask.tolist() for (name, _), mask in zip(sizes, masks, strict=True)}

    def _note(self, pattern: dict[str, list[bool]]) -> None:
        kept = [flag for name, _ in self._matrices("lora_E") for flag in pattern[name]]
        self.rank_mask.copy_(torch.tensor(kept, dtype=torch.uint8))


def rank_allocation(backbone: Backbone) -> RankAllocation | None:
    """Return the allocation of a backbone with an AdaLoRA adapter; None for others."""
    return RankAllocation(backbone) if backbone.method == "adalora" else None
