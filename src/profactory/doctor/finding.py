"""What a check found, as a line to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

OK, ABSENT, BROKEN = "ok", "absent", "broken"
MARKS = {OK: "✓", ABSENT: "⊘", BROKEN: "✗"}
GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        What was looked at.
    state
        ``ok``, ``absent`` (does not apply here, nothing to mend) or ``broken``.
    detail
        What was found.
    fix
        The line to type, where there is one.
    """

    name: str
    state: str
    detail: str
    fix: str = ""

    def line(self) -> str:
        """Return the finding as text, the fix below it."""
        text = f"{MARKS[self.state]} {self.name:<16} {self.detail}"
        return f"{text}\n    fix: {self.fix}" if self.fix else text

    def to_dict(self) -> dict[str, str]:
        """Return the fields for ``--json``."""
        return asdict(self)


def gib(size: int) -> str:
    """Write a number of bytes in GiB."""
    return f"{size / GIB:.1f} GiB"
