"""A task: its labels as arrays, its outputs as probabilities, its predictions as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import Problem, RowError
from profactory.tasks import cells as reading
from profactory.tasks.transforms import LabelTransform
from profactory.tasks.values import Array, Values

MINIMISED = frozenset({"loss", "mse", "rmse", "mae", "perplexity"})
IGNORED = -1  # class id of an unlabelled residue

Column = list[str] | NDArray[np.float32]


class TaskKind(StrEnum):
    """The five kinds of property that a table can hold."""

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"
    RESIDUE_CLASSIFICATION = "residue_classification"
    RESIDUE_REGRESSION = "residue_regression"

    @property
    def per_residue(self) -> bool:
        """Whether there is one label per residue."""
        return self in (TaskKind.RESIDUE_CLASSIFICATION, TaskKind.RESIDUE_REGRESSION)

    @property
    def is_classification(self) -> bool:
        """Whether labels are classes."""
        return self not in (TaskKind.REGRESSION, TaskKind.RESIDUE_REGRESSION)


@dataclass(frozen=True)
class Task:
    """One prediction task, fitted to the labels of a data set.

    Parameters
    ----------
    kind
        Which of the five.
    classes
        Class names; a class's id is its index. Empty for regression.
    targets
        Names of the regression targets (label columns).
    separator
        What separates the names of a multi-label cell, when read and when written.
    threshold
        Probability from which a class of a multi-label task is predicted.
    transform
        What training made of regression labels; None if they were left as they are.
    """

    kind: TaskKind
    classes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ("label",)
    separator: str = ","
    threshold: float = 0.5
    transform: LabelTransform | None = None

    @property
    def per_residue(self) -> bool:
        """Whether there is one label per residue."""
        return self.kind.per_residue

    @property
    def is_classification(self) -> bool:
        """Whether labels are classes."""
        return self.kind.is_classification

    @property
    def n_outputs(self) -> int:
        """Numbers that the head yields per sample or per residue."""
        return len(self.classes) if self.is_classification else len(self.targets)

    @property
    def default_monitor(self) -> str:
        """The metric by which the best epoch is chosen unless the user says otherwise."""
        if self.kind is TaskKind.MULTI_LABEL:
            return "f1_max"
        return "mcc" if self.is_classification else "spearman"

    @staticmethod
    def mode_of(metric: str) -> str:
        """Return ``"min"`` for losses and errors, ``"max"`` for everything else."""
        return "min" if metric in MINIMISED else "max"

    def encode(self, cells: Sequence[str] | Sequence[Sequence[str]], lengths: Sequence[int]) -> Values:
        """Turn label cells into an array.

        Parameters
        ----------
        cells
            One text cell per sample; for several regression targets one row of cells per sample.
        lengths
            Residues of each sequence.

        Returns
        -------
        Values
            Single label: int64 ``(n,)``. Multi-label: float32 ``(n, classes)`` of 0 and 1.
            Regression: float32 ``(n, targets)``, NaN where a target is missing. Residue
            classification: int64 ``(residues,)``, -1 where unlabelled. Residue regression: float32
            ``(residues,)``, NaN where unlabelled.

        Raises
        ------
        RowError
            With one problem per cell that does not fit; ``line`` is the index of the sample.
        """
        encode_one = self._encoders()[self.kind]
        arrays: list[Array] = []
        problems: list[Problem] = []
        for index, (cell, length) in enumerate(zip(cells, lengths, strict=True)):
            try:
                arrays.append(encode_one(cell, int(length)))
            except reading.LabelError as error:
                problems.append(Problem(str(error), line=index, value=str(cell)))
        if problems:
            raise RowError(
                f"{len(problems):,} of {len(cells):,} labels do not fit the task {self.kind}.",
                problems=problems,
                fix="mend the cells named above, or choose another --task or --label-column",
            )
        return self._pack(arrays)

    def probabilities(self, logits: Array) -> NDArray[np.float32]:
        """Turn raw outputs of the head into probabilities, or into numbers in the unit of the labels.

        Parameters
        ----------
        logits
            Shape ``(…, n_outputs)``.
        """
        values = np.asarray(logits, np.float32)
        if self.kind is TaskKind.MULTI_LABEL:
            with np.errstate(over="ignore"):  # exp overflows to infinity and 1/inf is the right 0
                return np.asarray(1.0 / (1.0 + np.exp(-values)), np.float32)
        if not self.is_classification:
            return values if self.transform is None else self.transform.invert(values)
        shifted = np.exp(values - values.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)

    def decode(self, outputs: Values, *, probabilities: bool = True) -> dict[str, Column]:
        """Turn outputs into the columns of a prediction file.

        Parameters
        ----------
        outputs
            Probabilities ``(n, classes)``, values ``(n, targets)``, or for residue tasks
            ``(residues, n_outputs)`` with offsets.
        probabilities
            Also give ``probability_<class>``.

        Returns
        -------
        dict
            ``prediction`` (class name; names joined by the separator; number; one character or
            one comma-separated item per residue), ``prediction_<target>`` for several targets,
            and the probabilities.
        """
        if self.per_residue:
            return self._decode_residues(outputs, probabilities)
        values = outputs.values.reshape(len(outputs), self.n_outputs)
        if self.kind is TaskKind.REGRESSION:
            names = ["prediction"] if len(self.targets) == 1 else [f"prediction_{t}" for t in self.targets]
            return {name: np.asarray(values[:, i], np.float32) for i, name in enumerate(names)}
        columns: dict[str, Column] = {"prediction": self._class_names(values)}
        if probabilities:
            for i, name in enumerate(self.classes):
                columns[f"probability_{name}"] = np.asarray(values[:, i], np.float32)
        return columns

    def transformed(self, labels: Values) -> Values:
        """Return labels, or predictions, as the loss sees them."""
        if self.transform is None:
            return labels
        columns = labels.values.reshape(-1, self.n_outputs)
        return Values(self.transform.apply(columns).reshape(labels.values.shape), labels.offsets)

    def with_transform(self, transform: LabelTransform) -> Task:
        """Return the same task with labels transformed for training."""
        return replace(self, transform=transform)

    def with_threshold(self, threshold: float) -> Task:
        """Return the same task with another multi-label threshold."""
        return replace(self, threshold=float(threshold))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {
            "kind": str(self.kind),
            "classes": list(self.classes),
            "targets": list(self.targets),
            "separator": self.separator,
            "threshold": self.threshold,
            **({"transform": self.transform.to_dict()} if self.transform else {}),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Task:
        """Rebuild a task from :meth:`to_dict`."""
        return cls(
            kind=TaskKind(data["kind"]),
            classes=tuple(str(name) for name in data["classes"]),
            targets=tuple(str(name) for name in data["targets"]),
            separator=str(data["separator"]),
            threshold=float(data["threshold"]),
            transform=LabelTransform.from_dict(data["transform"]) if data.get("transform") else None,
        )

    def _encoders(self) -> dict[TaskKind, Callable[[Any, int], Array]]:
        return {
            TaskKind.SINGLE_LABEL: self._encode_single,
            TaskKind.MULTI_LABEL: self._encode_multi,
            TaskKind.REGRESSION: self._encode_numbers,
            TaskKind.RESIDUE_CLASSIFICATION: self._encode_residues,
            TaskKind.RESIDUE_REGRESSION: self._encode_residue_numbers,
        }

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def _id(self, name: str) -> int:
        if name not in self._ids:
            shown = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
            raise reading.LabelError(f"class {name!r} is not among those seen in training: {shown}")
        return self._ids[name]

    def _encode_single(self, cell: str, length: int) -> Array:
        return np.int64(self._id(reading.parse_class(cell)))  # type: ignore[return-value]

    def _encode_multi(self, cell: str, length: int) -> Array:
        row = np.zeros(len(self.classes), np.float32)
        for name in reading.parse_names(cell, self.separator):
            row[self._id(name)] = 1.0
        return row

    def _encode_numbers(self, cell: str | Sequence[str], length: int) -> Array:
        row = [cell] if isinstance(cell, str) else list(cell)
        if len(row) == 1:
            return np.array([reading.parse_number(row[0])], np.float32)
        if not any(row):
            raise reading.LabelError("every target is missing")
        return np.array([reading.parse_number(item) if item else np.nan for item in row], np.float32)

    def _encode_residues(self, cell: str, length: int) -> Array:
        names = reading.parse_residue_classes(cell, length)
        return np.array([IGNORED if name is None else self._id(name) for name in names], np.int64)

    def _encode_residue_numbers(self, cell: str, length: int) -> Array:
        return np.array(reading.parse_residue_numbers(cell, length), np.float32)

    def _pack(self, arrays: list[Array]) -> Values:
        if arrays or self.per_residue:
            return Values.concat(arrays, per_residue=self.per_residue)
        dtype = np.int64 if self.kind is TaskKind.SINGLE_LABEL else np.float32
        shape = (0,) if self.kind is TaskKind.SINGLE_LABEL else (0, self.n_outputs)
        return Values(np.empty(shape, dtype))

    def _class_names(self, values: Array) -> list[str]:
        if self.kind is TaskKind.SINGLE_LABEL:
            return [self.classes[i] for i in values.argmax(axis=1)]
        joiner = self.separator
        return [joiner.join(self.classes[i] for i in np.flatnonzero(row >= self.threshold)) for row in values]

    def _decode_residues(self, outputs: Values, probabilities: bool) -> dict[str, Column]:
        blocks = [outputs[i].reshape(-1, self.n_outputs) for i in range(len(outputs))]
        if self.kind is TaskKind.RESIDUE_REGRESSION:
            return {"prediction": [_join(block[:, 0]) for block in blocks]}
        joiner = "" if all(len(name) == 1 for name in self.classes) else ","
        columns: dict[str, Column] = {
            "prediction": [joiner.join(self.classes[i] for i in block.argmax(axis=1)) for block in blocks]
        }
        if probabilities:
            for i, name in enumerate(self.classes):
                columns[f"probability_{name}"] = [_join(block[:, i]) for block in blocks]
        return columns


def _join(numbers: Array) -> str:
    """Write 32-bit floats with as few digits as give the same number back."""
    return ",".join(np.asarray(numbers, np.float32).astype(str).tolist())
