"""Tiny repositories, made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from profactory.models.backbone import Backbone
from profactory.models.zoo import ModelSpec, resolve
from tests.support.models import tiny_repo

Repo = Callable[[str], Path]


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Return a function from a family to a tiny repository; do not write into it."""

    @cache
    def make(family: str) -> Path:
        return tiny_repo(family, tmp_path_factory.mktemp("repo") / "model")

    return make


@pytest.fixture(scope="session")
def frozen(repo: Repo) -> Callable[[str], Backbone]:
    """Return a function from a family to a loaded backbone; do not train it."""

    @cache
    def load(family: str) -> Backbone:
        return Backbone.load(resolve(str(repo(family))))

    return load


@pytest.fixture(scope="session")
def spec(repo: Repo) -> ModelSpec:
    """Return a tiny ESM-2."""
    return resolve(str(repo("esm")))
