"""The model itself, run by torch; what every other engine is measured against."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.errors import ConfigError

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch
    from profactory.models.protein_model import ProteinModel


class TorchEngine:
    """A model in evaluation mode on a device; see :class:`profactory.inference.engines.Engine`.

    Parameters
    ----------
    model
        Moved to the device and put into evaluation mode.
    device
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision
        ``fp32``, ``bf16`` or ``fp16`` (GPU only) of the computation; outputs are float32.

    Raises
    ------
    ConfigError
        The device or the precision cannot be used here.
    """

    name = "torch"

    def __init__(self, model: ProteinModel, device: str = "auto", precision: str = "fp32") -> None:
        self.device = choose_device(device)
        self.precision = precision
        self._dtype = choose_dtype(precision, self.device)
        self.model = model.to(self.device).eval()
        self.on_processor = self.device.type == "cpu"

    def describe(self) -> str:
        """Return what computes, for people."""
        return f"{self.name} {self.precision} on {self.device}"

    @torch.inference_mode()
    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the head's outputs as float32; see :class:`profactory.inference.engines.Engine`."""
        here = batch.to(self.device)
        with self._autocast():
            # (batch, outputs) or (batch, length, outputs)
            logits = self.model(here.input_ids, here.attention_mask, here.lengths, **here.extras)
        return as_array(logits)

    @torch.inference_mode()
    def run_embedded(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return outputs and embeddings; see :class:`profactory.inference.engines.Engine`."""
        here = batch.to(self.device)
        with self._autocast():
            logits, embeddings = self.model.forward_embedded(
                here.input_ids, here.attention_mask, here.lengths, **here.extras
            )
        return as_array(logits), as_array(embeddings)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)


def as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Bring numbers to the host as float32."""
    return np.asarray(tensor.float().cpu().numpy())


def choose_device(name: str) -> torch.device:
    """Turn ``auto`` into the best device there is; check that any other exists."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {name!r} cannot be used here.",
            expected="cpu, or a GPU that torch can use",
            fix="--device auto; profactory doctor says what is missing",
        ) from error
    return device


def native_bf16() -> bool:
    """Whether this processor computes in bf16 by itself."""
    abilities: Mapping[str, Any] = torch.cpu.get_capabilities()
    return any(abilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return what a precision is computed in on a device, None for fp32; check that it can be."""
    known = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in known or (precision == "fp16" and device.type == "cpu"):
        raise ConfigError(
            f"The precision {precision} cannot be used on {device}.",
            expected="fp32 or bf16" + ("" if device.type == "cpu" else " or fp16"),
            fix="leave --precision out for fp32",
        )
    return known[precision]
