"""Importing Gradio without work that only its own developers need."""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType

MODULE = "gradio.component_meta"
STUBS = "create_or_modify_pyi"


@contextlib.contextmanager
def lean_import() -> Iterator[None]:
    """Import Gradio in two thirds of the time, and without writing into its folder.

    While its components are defined, Gradio parses their sources and writes a stub (``.pyi``) beside each of
    them, for editors: nearly two seconds at every start, and a race when two start at once. There is no
    switch for it. Nothing reads these files at run time, so the function that writes them is replaced by one
    that does nothing; where a later Gradio has no such function, nothing is replaced.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        with no_collection():
            yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Look for no garbage while a great many objects are made that all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _WithoutStubs(spec.loader.name, spec.loader.path)
        return spec


class _WithoutStubs(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if hasattr(module, STUBS):
            setattr(module, STUBS, lambda *_: None)
