"""What computes a model's outputs: torch, or another runtime that gives the same numbers faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from profactory.models.batch import TokenBatch


class Engine(Protocol):
    """Runs one padded batch.

    Attributes
    ----------
    name : str
        ``torch``, ``openvino`` or ``onnx``.
    precision : str
        ``fp32``, ``bf16``, ``fp16`` or ``int8`` of the computation.
    on_processor : bool
        Whether it computes on the processor rather than on a graphics card.
    """

    name: str
    precision: str
    on_processor: bool

    def describe(self) -> str:
        """Return what computes, for people: ``torch fp32 on cpu``."""
        ...

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the head's outputs: ``(batch, outputs)``, or ``(batch, length, outputs)`` per residue."""
        ...

    def run_embedded(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what :meth:`run` returns, and the embeddings ``(batch, width)``.

        For models that know the embeddings of their training data; see
        :meth:`profactory.models.protein_model.ProteinModel.forward_embedded`.
        """
        ...
