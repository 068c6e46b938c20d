"""Where the model is that somebody means."""

from __future__ import annotations

from pathlib import Path

from profactory.errors import NotARunError
from profactory.files import read_json
from profactory.runs import Run


def model_path(run: str | Path) -> Path:
    """Return the folder of a model: of a run, in one file, on the Hub (``user/name``), or itself.

    Raises
    ------
    NotARunError
        Neither; an unfinished run is said to be unfinished.
    """
    path = Path(run)
    if (path / "config.json").is_file():
        return path
    if path.is_file():
        from profactory.sharing.bundle import open_bundle

        return open_bundle(path)
    if _is_repository(str(run)):
        from profactory.sharing.hub import fetch_model

        return fetch_model(str(run))
    opened = Run.open(path)
    if not (opened.model_dir / "config.json").is_file():
        raise NotARunError(
            f"The run {path} has no finished model; its state is {opened.status()['state']}.",
            expected="a finished run",
            fix=f"profactory resume {path}",
        )
    return opened.model_dir


def trained_folder(path: Path) -> Path | None:
    """Return the model folder of a path if it is a run, a trained model or a bundle, and not a backbone."""
    if path.is_file() or (path / "status.json").is_file():
        return model_path(path)
    config = path / "config.json"
    return path if config.is_file() and "profactory" in read_json(config) else None


def _is_repository(name: str) -> bool:
    """Whether a name can only mean a repository of the Hub: nothing here begins like it."""
    if Path(name.split("/")[0]).exists():
        return False
    from profactory.sharing.hub import REPOSITORY

    return REPOSITORY.fullmatch(name) is not None
