"""Structures that somebody named beside a trained model: refused where the model reads none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from profactory.errors import ConfigError

if TYPE_CHECKING:
    from profactory.structure.joining import Missing, StructureJoin

MISSING = ("refuse", "mask")


def open_join(
    model: Path,
    structures: str | Path | None,
    missing: str,
    *,
    otherwise: Missing = "refuse",
    sequence_column: str | None = None,
) -> StructureJoin | None:
    """Read the structures for a model; None if none are named.

    Parameters
    ----------
    model
        Folder of the trained model.
    structures
        Folder of coordinates, or a table of ``profactory structure``.
    missing
        What becomes of a row without one, as typed: ``refuse`` or ``mask``.
    otherwise
        What ``refuse`` is: ``empty`` where a single row is refused and the rest goes on.
    sequence_column
        As typed.

    Raises
    ------
    ConfigError
        The model reads none, or `missing` is said without structures, or is nothing that can be done.
    """
    if missing not in MISSING:
        raise ConfigError(f"missing_structure is {missing!r}.", expected=" or ".join(map(repr, MISSING)))
    if not structures:
        if missing == "mask":
            raise ConfigError(
                "--missing-structure is about rows without a structure, and no structures are named.",
                expected="--structures beside it",
                fix="--structures FOLDER, or leave --missing-structure out",
            )
        return None
    if not structures_read(model):
        raise ConfigError(
            f"The model of {model} reads sequences alone, and structures would change nothing.",
            expected="a model trained with structures (method ses-adapter, or SaProt with 3Di letters)",
            fix="leave --structures out, or train a model that reads them",
        )
    from profactory.structure.joining import StructureJoin

    what: Missing = "mask" if missing == "mask" else otherwise
    return StructureJoin.open(structures, missing=what, sequence_column=sequence_column)


def structures_read(model: Path) -> list[str]:
    """Return the kinds of structure string that a saved model reads, which its configuration says."""
    from profactory.sharing.model_card import facts_of

    return list(facts_of(model).get("design", {}).get("structures") or {})
