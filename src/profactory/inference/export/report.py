"""What an export wrote. Torch-free."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how far its answers are from the original's.

    Parameters
    ----------
    out
        Folder or file.
    format
        ``onnx``, ``openvino``, ``merged`` or ``zip``.
    largest_difference
        Of a probability, or of a value in units of the labels' spread, over lengths 1 to the model's limit
        and batches of 1 to 16; None where the files are the same.
    quantized
        For int8: the metric on the validation rows before and after.
    backbone
        For zip: the Hub commit that the backbone's weights come from, if they are not in the file.
    """

    out: Path
    format: str
    largest_difference: float | None = None
    quantized: dict[str, Any] = field(default_factory=dict)
    backbone: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {**asdict(self), "out": str(self.out)}

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [f"{self.format}: {self.out}"]
        if self.largest_difference is not None:
            lines.append(f"largest difference from the model: {self.largest_difference:.1e}")
        if self.quantized:
            q = self.quantized
            lines.append(
                f"int8: {q['metric']} {q['before']:.4f} -> {q['after']:.4f} on {q['rows']:,} validation rows"
            )
        if self.backbone:
            lines.append(
                f"the backbone is not in it and will be fetched from the Hub: {self.backbone}"
                " (--format merged has everything)"
            )
        return "\n".join(lines)
