"""What the sections of the configuration have in common."""

from __future__ import annotations

from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Settings(BaseModel):
    """One section: its fields with their help, and the rules among them.

    Attributes
    ----------
    group : str
        Title of the section on the help page and in the form.
    """

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True)

    group: ClassVar[str] = ""

    @field_validator("*", mode="before")
    @classmethod
    def _as_list(cls, value: Any, info: ValidationInfo) -> Any:
        """Take one text where several may stand for a list of it, as the command line does."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        several = any(get_origin(part) is list for part in (annotation, *get_args(annotation)))
        return [value] if several and isinstance(value, str) else value

    @property
    def given(self) -> list[str]:
        """Names of the settings that the user gave a value."""
        fields = type(self).model_fields
        return [name for name in fields if name in self.model_fields_set and getattr(self, name) is not None]

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        return []
