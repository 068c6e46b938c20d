"""The kinds of task: of what a label is, and what it answers."""

from __future__ import annotations

from enum import Enum, StrEnum


class Answer(Enum):
    """What is asked of a sequence, or of each of its residues."""

    CLASS = "one of the classes"
    CLASSES = "any number of the classes"
    NUMBER = "a number"


_RESIDUE = "residue_"
_ANSWERS = {
    "single_label_classification": Answer.CLASS,
    "classification": Answer.CLASS,
    "multi_label_classification": Answer.CLASSES,
    "regression": Answer.NUMBER,
}


class TaskKind(StrEnum):
    """The kinds of property that a table can hold: an answer for each sequence, or for each residue.

    Everything that is computed depends on the answer and on whether there is one per residue, never on the
    kind itself: another kind is a line here, and how its cells are read.
    """

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"
    RESIDUE_CLASSIFICATION = "residue_classification"
    RESIDUE_MULTI_LABEL = "residue_multi_label_classification"
    RESIDUE_REGRESSION = "residue_regression"

    @property
    def answer(self) -> Answer:
        """What is asked."""
        return _ANSWERS[self.removeprefix(_RESIDUE)]

    @property
    def per_residue(self) -> bool:
        """Whether there is one label per residue."""
        return self.startswith(_RESIDUE)

    @property
    def is_classification(self) -> bool:
        """Whether labels are classes."""
        return self.answer is not Answer.NUMBER

    @property
    def is_multi_label(self) -> bool:
        """Whether several classes can hold at once, each with a probability of its own."""
        return self.answer is Answer.CLASSES
