"""Python, the packages that are needed, and the optional ones."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from profactory.doctor.finding import ABSENT, BROKEN, OK, Finding

#: Extras that are collections of others, or tools of those who write ProFactory.
NO_FEATURES = {"all", "dev", "docs"}


def python() -> Iterator[Finding]:
    """Check the interpreter: version and word size."""
    version = platform.python_version()
    where = f"{version} at {sys.executable}"
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("Python", BROKEN, where, "use Python 3.11, 3.12 or 3.13: python3.12 -m venv .venv")
    elif sys.maxsize < 2**32:
        yield Finding("Python", BROKEN, f"{where}, 32 bit", "install a 64-bit Python")
    else:
        yield Finding("Python", OK, where)


def requirements() -> Iterator[Finding]:
    """Check that every package we need is there in a version that will do."""
    wrong = [line for line in map(_unmet, _requirements("")) if line]
    missing = [requirement for requirement, _ in wrong]
    if wrong:
        detail = "; ".join(f"{requirement} ({found})" for requirement, found in wrong)
        command = "pip install " + " ".join(f'"{requirement}"' for requirement in missing)
        yield Finding("packages", BROKEN, detail, command)
        return
    versions = {name: metadata.version(name) for name in ("profactory", "transformers", "peft", "accelerate")}
    yield Finding("packages", OK, ", ".join(f"{name} {version}" for name, version in versions.items()))


def extras() -> Iterator[Finding]:
    """Tell which optional parts are installed, and how to get the others."""
    offered = metadata.metadata("profactory").get_all("Provides-Extra") or []
    there: list[str] = []
    missing: list[str] = []
    for name in sorted(set(offered) - NO_FEATURES):
        (missing if any(map(_unmet, _requirements(name))) else there).append(name)
    if there:
        yield Finding("optional parts", OK, ", ".join(there))
    if missing:
        command = f'pip install "profactory[{",".join(missing)}]"'
        yield Finding("optional parts", ABSENT, f"not installed: {', '.join(missing)}", command)


def _requirements(extra: str) -> list[Any]:
    """Return our requirements: those of an extra, or those that are always needed."""
    from packaging.requirements import Requirement

    parsed = [Requirement(line) for line in metadata.requires("profactory") or []]
    if not extra:
        return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]
    with_it = [r for r in parsed if r.marker is not None and r.marker.evaluate({"extra": extra})]
    return [r for r in with_it if r.marker is not None and not r.marker.evaluate({"extra": ""})]


def _unmet(requirement: Any) -> tuple[str, str] | None:
    """Return a requirement that is not met and what is there instead."""
    text = f"{requirement.name}{requirement.specifier}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return text, "missing"
    return (
        None
        if requirement.specifier.contains(version, prereleases=True)
        else (text, f"{version} is installed")
    )
