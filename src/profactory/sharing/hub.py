"""Models in repositories of the Hugging Face Hub: pushed with their card, fetched as data alone."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profactory.errors import ConfigError, ModelLoadError, ProFactoryError
from profactory.files import read_json
from profactory.sharing.bundle import SUFFIXES
from profactory.sharing.model_card import CARD, make_card

#: ``user/name``, and behind an ``@`` a commit, tag or branch.
REPOSITORY = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95})(@(?P<revision>[\w][\w./-]{0,127}))?")
_PATTERNS = [f"*{suffix}" for suffix in SUFFIXES]  # of any folder; no code, no pickles

log = logging.getLogger("profactory")


def push_model(folder: Path, run: Path | None, repository: str, *, private: bool = False) -> str:
    """Upload a model folder with its card.

    A backbone that is a commit of the Hub is referenced, not uploaded.

    Parameters
    ----------
    folder
        The model.
    run
        Its run, for the card.
    repository
        ``user/name``; made if it does not exist.
    private
        Make it for your eyes only.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ConfigError
        `repository` is no ``user/name``.
    ProFactoryError
        The Hub cannot be reached or does not let you.
    """
    found = REPOSITORY.fullmatch(repository)
    if found is None or found["revision"]:
        raise ConfigError(f"{repository!r} is no repository.", expected="user/name")
    card = make_card(folder, run, place=repository)
    import huggingface_hub as hub

    operations: list[Any] = [hub.CommitOperationAdd(CARD, card.encode())]
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if name.endswith(SUFFIXES) and name != CARD:
            operations.append(hub.CommitOperationAdd(name, str(file)))
    with _translated(repository, "pushed to"):
        api = hub.HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository, operations, commit_message="Model trained with ProFactory", repo_type="model"
        )
    return str(commit.commit_url)


def fetch_model(repository: str) -> Path:
    """Return the folder of a model of the Hub, downloading what is not in its cache.

    Parameters
    ----------
    repository
        ``user/name`` or ``user/name@revision``. With a commit as revision the model can never change.

    Raises
    ------
    ModelLoadError
        It cannot be had, or is no model of ours.
    """
    found = REPOSITORY.fullmatch(repository)
    if found is None:
        raise ConfigError(f"{repository!r} is no repository.", expected="user/name or user/name@revision")
    import huggingface_hub as hub

    with _translated(repository, "got from"):
        folder = Path(
            hub.snapshot_download(found["id"], revision=found["revision"], allow_patterns=_PATTERNS)
        )
    if not (folder / "config.json").is_file() or "profactory" not in read_json(folder / "config.json"):
        raise ModelLoadError(
            f"{found['id']} is not a model trained by ProFactory.",
            fix="profactory train DATA --model " + found["id"] + " trains one on it",
        )
    if found["revision"] != folder.name:
        log.info("Model %s at commit %s; %s@%s pins it.", found["id"], folder.name, found["id"], folder.name)
    return folder


@contextlib.contextmanager
def _translated(repository: str, what: str) -> Iterator[None]:
    """Turn the failures of the Hub's client into our error."""
    from httpx import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    failures = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, HTTPError, OSError)
    try:
        yield
    except failures as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        kind = ModelLoadError if what == "got from" else ProFactoryError
        raise kind(
            f"{repository} could not be {what} the Hugging Face Hub: {first}",
            expected="a reachable Hub, and the right to do this",
            fix="`hf auth login` with a token of yours; check the name; set HF_ENDPOINT for a mirror",
        ) from error
