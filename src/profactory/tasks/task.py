"""A task: its labels as arrays, its outputs as probabilities, its predictions as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import Problem, RowError
from profactory.tasks import residue_cells, sequence_cells
from profactory.tasks.cells import LabelError, Reader
from profactory.tasks.kinds import Answer, TaskKind
from profactory.tasks.transforms import LabelTransform
from profactory.tasks.values import Array, Values

MINIMISED = frozenset({"loss", "mse", "rmse", "mae", "perplexity"})
IGNORED = -1  # class id of an unlabelled residue

READERS: Mapping[TaskKind, Reader] = {**sequence_cells.READERS, **residue_cells.READERS}
Column = list[str] | NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """One prediction task, fitted to the labels of a data set.

    Parameters
    ----------
    kind
        What is asked, and of what.
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
    def is_multi_label(self) -> bool:
        """Whether several classes can hold at once."""
        return self.kind.is_multi_label

    @property
    def is_string(self) -> bool:
        """Whether the prediction of a sequence is a letter for each residue, and not a list."""
        one_letter = all(len(name) == 1 for name in self.classes)
        return self.per_residue and self.kind.answer is Answer.CLASS and one_letter

    @property
    def n_outputs(self) -> int:
        """Numbers that the head yields per sample or per residue."""
        return len(self.classes) if self.is_classification else len(self.targets)

    @property
    def default_monitor(self) -> str:
        """The metric by which the best epoch is chosen unless the user says otherwise."""
        if self.is_multi_label:
            return "auprc" if self.per_residue else "f1_max"
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
            ``(residues,)``, NaN where unlabelled; of several classes ``(residues, classes)``.

        Raises
        ------
        RowError
            With one problem per cell that does not fit; ``line`` is the index of the sample.
        """
        read = READERS[self.kind]
        arrays: list[Array] = []
        problems: list[Problem] = []
        for index, (cell, length) in enumerate(zip(cells, lengths, strict=True)):
            try:
                found = read(cell, int(length), self.separator)
                arrays.append(self._array(found) if self.per_residue else self._array([found])[0])
            except LabelError as error:
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
        if self.is_multi_label:
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
        if not self.is_classification:
            names = ["prediction"] if len(self.targets) == 1 else [f"prediction_{t}" for t in self.targets]
            return {name: np.asarray(values[:, i], np.float32) for i, name in enumerate(names)}
        columns: dict[str, Column] = {"prediction": self._names(values)}
        if probabilities:
            for i, name in enumerate(self.classes):
                columns[f"probability_{name}"] = np.asarray(values[:, i], np.float32)
        return columns

    def labelled(self, labels: Values) -> NDArray[np.bool_]:
        """Tell which rows of :meth:`encode`, or which residues, have a label: shape ``(rows,)``."""
        if self.kind.answer is Answer.CLASS:
            return np.asarray(labels.values != IGNORED)
        missing = np.isnan(labels.values)
        return np.asarray(~(missing if missing.ndim == 1 else missing.all(axis=1)))

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

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def _id(self, name: str) -> int:
        if name not in self._ids:
            shown = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
            raise LabelError(f"class {name!r} is not among those seen in training: {shown}")
        return self._ids[name]

    def _array(self, items: Sequence[Any]) -> Array:
        """Turn what a reader found for sequences, or for the residues of one, into as many rows."""
        if self.kind.answer is Answer.NUMBER:
            return np.array(items, np.float32)
        if self.kind.answer is Answer.CLASS:
            return np.array([IGNORED if name is None else self._id(name) for name in items], np.int64)
        rows = np.zeros((len(items), len(self.classes)), np.float32)
        for row, names in zip(rows, items, strict=True):
            if names is None:
                row[:] = np.nan
            else:
                row[[self._id(name) for name in names]] = 1.0
        return rows

    def _pack(self, arrays: list[Array]) -> Values:
        if arrays:
            return Values.concat(arrays, per_residue=self.per_residue)
        if self.per_residue:
            return Values(self._array([]), np.zeros(1, np.int64))
        return Values(
            self._array([]) if self.is_classification else np.empty((0, self.n_outputs), np.float32)
        )

    def _names(self, values: Array) -> list[str]:
        """Return what each row of probabilities predicts."""
        if not self.is_multi_label:
            return [self.classes[i] for i in values.argmax(axis=1)]
        return [
            self.separator.join(self.classes[i] for i in np.flatnonzero(row >= self.threshold))
            for row in values
        ]

    def _decode_residues(self, outputs: Values, probabilities: bool) -> dict[str, Column]:
        blocks = [outputs[i].reshape(-1, self.n_outputs) for i in range(len(outputs))]
        if not self.is_classification:
            return {"prediction": [_join(block[:, 0]) for block in blocks]}
        joiner = "" if self.is_string else ","
        columns: dict[str, Column] = {"prediction": [joiner.join(self._names(block)) for block in blocks]}
        if probabilities:
            for i, name in enumerate(self.classes):
                columns[f"probability_{name}"] = [_join(block[:, i]) for block in blocks]
        return columns


def _join(numbers: Array) -> str:
    """Write 32-bit floats with as few digits as give the same number back."""
    return ",".join(np.asarray(numbers, np.float32).astype(str).tolist())
