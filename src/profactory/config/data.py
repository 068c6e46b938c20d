"""Which data, and how they are read and divided."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from profactory.config.settings import Settings
from profactory.tasks import TaskKind

SplitMethod = Literal["auto", "given", "random", "stratified", "homology"]
FoldMethod = Literal["random", "stratified", "homology"]


class DataSettings(Settings):
    """Which data, and how they are read and divided."""

    group: ClassVar[str] = "Data"

    sequence_column: str | None = None
    """Column with the sequences; found by its name if not given."""
    label_column: list[str] | None = None
    """Column with the labels; repeat the option for several regression targets."""
    split_column: str | None = None
    """Column with train, validation and test; found by its name if not given."""
    id_column: str | None = None
    """Column with the id of each protein, by which its structure is found; found by its name if not given."""
    structures: str | None = None
    """Folder of PDB or mmCIF files, or a table made by `profactory structure`; joined by exact id."""
    missing_structure: Literal["refuse", "mask"] = "refuse"
    """What becomes of a row without structure: a row that cannot be used, or kept with a mask."""
    header_pattern: str | None = None
    """FASTA: a regular expression whose named groups become columns: '(?P<id>[^|]+)[|](?P<label>.+)'."""
    task: TaskKind | None = None
    """Task; inferred from the labels if not given."""
    split: SplitMethod = "auto"
    """How to divide data that is not divided: auto takes what the data give, else stratified."""
    split_ratios: tuple[float, float, float] = Field((0.8, 0.1, 0.1))
    """Shares of train, validation and test."""
    split_identity: float = Field(0.3, gt=0, le=1)
    """Sequence identity above which a homology split keeps two sequences on one side."""
    folds: int | None = Field(None, ge=2, le=100)
    """Train K models, each with another part of the rows held out: one command, one run, one ensemble."""
    fold_split: FoldMethod = "stratified"
    """How the rows are divided into folds."""
    bad_rows: Literal["error", "drop"] = "error"
    """What to do when rows cannot be used: stop and name them, or drop and list them."""
    limit: int | None = Field(None, gt=0)
    """Use only the first N rows, for a first try."""
    sample: float | None = Field(None, gt=0, le=1)
    """Use only this random share of the rows, for a first try."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        found = []
        if self.limit and self.sample:
            found.append("limit and sample were both given; give one")
        if not self.structures and self.model_fields_set & {"missing_structure", "id_column"}:
            found.append("missing_structure and id_column have a meaning only with structures")
        if any(ratio < 0 for ratio in self.split_ratios) or not 0.999 < sum(self.split_ratios) < 1.001:
            found.append(f"split_ratios must be three shares that add up to 1, not {self.split_ratios}")
        if self.split_ratios[0] <= 0 or self.split_ratios[1] <= 0:
            found.append("split_ratios must leave rows for train and validation")
        if self.folds and self.split not in ("auto", "given"):
            found.append(f"folds divide the rows themselves; instead of split {self.split} take fold_split")
        if not self.folds and "fold_split" in self.model_fields_set:
            found.append("fold_split has no meaning without folds")
        return found
