"""What a model is made of around its backbone, as plain values that are saved with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from profactory.config.methods import METHODS
from profactory.models.architecture import MIX
from profactory.models.extra_inputs import ExtraInputs
from profactory.models.pooling import POOLINGS
from profactory.models.tuning import Tuning

#: Fields without which nobody knows what a saved model is.
_ALWAYS = {"method", "tuning", "pooling", "max_length"}


@dataclass(frozen=True)
class Design:
    """Everything that decides the architecture around the backbone; saved with the model.

    Parameters
    ----------
    method, tuning
        See :func:`profactory.models.tuning.apply_method`.
    pooling
        See :func:`profactory.models.pooling.choose_pooling`; None for residue tasks.
    max_length
        Residues read of each sequence; the backbone's usual length if None.
    dropout, head_hidden
        Of the head; its hidden layer is as wide as the backbone if None, and 0 means none.
    layer
        See :class:`profactory.models.backbone.Backbone`; ``mix`` for a learned mix of all.
    structures, descriptors
        See :class:`profactory.models.extra_inputs.ExtraInputs`.
    """

    method: str = "freeze"
    tuning: Tuning = field(default_factory=Tuning)
    pooling: str | None = None
    max_length: int | None = None
    dropout: float = 0.1
    head_hidden: int | None = None
    layer: int | str = -1
    structures: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[str, ...] = ()

    @property
    def pooled_features(self) -> bool:
        """Whether the part that a frozen backbone never changes ends with one vector per sequence.

        The mix of layers is trained, and may come after a pooling that is linear.
        """
        pooling = POOLINGS.get(self.pooling or "")
        if pooling is None or METHODS[self.method].per_residue:
            return False
        return pooling.parameter_free and (pooling.linear or self.layer != MIX)

    @property
    def cacheable(self) -> bool:
        """Whether that part is worth keeping: it exists, and is not all layers of every residue."""
        return METHODS[self.method].frozen and (self.pooled_features or self.layer != MIX)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Design:
        """Rebuild from :meth:`to_dict`; what an earlier version did not write has its default.

        Raises
        ------
        KeyError, ValueError
            What every version writes is not there, or there is what this one does not know.
        """
        if missing := _ALWAYS - values.keys():
            raise KeyError(", ".join(sorted(missing)))
        if unknown := values.keys() - {item.name for item in fields(cls)}:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"{names} of the design is not known here; a newer version may have written it")
        given = dict(values)
        given["tuning"] = Tuning.from_dict(values["tuning"])
        given["structures"] = {str(k): str(column) for k, column in values.get("structures", {}).items()}
        given["descriptors"] = tuple(values.get("descriptors", ()))
        return cls(**given)

    @property
    def extra_inputs(self) -> ExtraInputs:
        """What is read of a sample beside its sequence."""
        return ExtraInputs(self.structures, self.descriptors, in_tokens=not METHODS[self.method].per_residue)
