"""Putting a data set on the Hugging Face Hub: validated rows as Parquet, one file per split, and a card."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from profactory.data.dataset import Dataset
from profactory.data.hub import parse_address
from profactory.data.prepare import Prepared, prepare_dataset
from profactory.data.writing import open_writer
from profactory.errors import ConfigError, DataError

WINDOW = 8192
SPLITS = ("train", "validation", "test")
MESSAGE = "Data set by ProFactory"
EXISTS = 409  # HTTP status: conflict
WHOLE = "train"  # what the Hub calls the only part of a data set


@dataclass(frozen=True)
class Published:
    """What was put on the Hub.

    Parameters
    ----------
    url
        Page of the data set.
    rows
        Rows in each file.
    """

    url: str
    rows: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {"url": self.url, "rows": self.rows}


def publish(
    source: str | Path, repository: str, *, private: bool = False, overwrite: bool = False, **reading: Any
) -> Published:
    """Put the validated rows of a data set on the Hub.

    Parameters
    ----------
    source
        Whatever training takes; data with unusable rows are refused unless ``bad_rows="drop"``.
    repository
        ``user/name``.
    private
        Only the user's own eyes; as the Hub is set if the repository exists already.
    overwrite
        Add a new version to a data set that exists.
    **reading
        As for :func:`profactory.data.prepare.prepare_dataset`.

    Raises
    ------
    ConfigError
        No token, or a name that is none.
    DataError
        The data cannot be used; the Hub refuses, or holds a data set of this name.
    """
    token = _check(repository)
    prepared = prepare_dataset(source, need_labels=False, **reading)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _write(prepared.dataset, folder)
        (folder / "README.md").write_text(card(prepared, repository, rows), encoding="utf-8")
        return Published(_upload(folder, repository, token, private=private, overwrite=overwrite), rows)


def _check(repository: str) -> str:
    from huggingface_hub import get_token

    address = parse_address(repository)
    if address is None or str(address) != repository or address.config:
        raise ConfigError(f"{repository!r} is no name of a data set.", expected="user/name")
    token = get_token()
    if token is None:
        raise ConfigError(
            "Nobody is logged in to the Hugging Face Hub.",
            expected="a token that may write",
            fix="hf auth login, or set HF_TOKEN",
        )
    return str(token)


def _write(dataset: Dataset, folder: Path) -> dict[str, int]:
    """Write the rows of each split; return how many."""
    parts = {name: np.flatnonzero(dataset.splits == name) for name in SPLITS}
    parts = {name: rows for name, rows in parts.items() if len(rows)} or {WHOLE: np.arange(len(dataset))}
    names = dataset.table.column_names
    for split, rows in parts.items():
        with open_writer(folder / f"{split}.parquet", names) as writer:
            for start in range(0, len(rows), WINDOW):
                window = rows[start : start + WINDOW]
                writer.write({name: dataset.column(name, window).to_pylist() for name in names})
    return {name: len(rows) for name, rows in parts.items()}


def card(prepared: Prepared, repository: str, rows: Mapping[str, int]) -> str:
    """Return the description of a data set: what programs read, and what people read."""
    files = [{"split": name, "path": f"{name}.parquet"} for name in rows]
    head = yaml.safe_dump(
        {"tags": ["biology", "protein"], "configs": [{"config_name": "default", "data_files": files}]},
        sort_keys=False,
    )
    columns, task = prepared.dataset.columns, prepared.task
    table = [f"| {name} | {count:,} |" for name, count in rows.items()]
    lines = [
        f"---\n{head}---",
        f"# {repository.split('/')[1]}",
        f"{prepared.counts['used']:,} protein sequences, checked by ProFactory: standard residues and"
        " U O B Z X J only, upper case.",
        "\n".join(["| part | rows |", "|---|---:|", *table]),
        f"Sequences are in column `{columns.sequence}`."
        + (f" Labels are in `{'`, `'.join(columns.labels)}`: {task.kind}." if task else ""),
        f"```\nprofactory train {repository}\n```",
        f"SHA-256 of the validated rows: `{prepared.dataset.content_hash}`",
    ]
    return "\n\n".join(lines) + "\n"


def _upload(folder: Path, repository: str, token: str, *, private: bool, overwrite: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token)
    try:
        page = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=overwrite)
        api.upload_folder(repo_id=repository, folder_path=folder, repo_type="dataset", commit_message=MESSAGE)
    except HfHubHTTPError as error:
        if error.response.status_code == EXISTS:
            raise DataError(
                f"{repository} exists already on the Hub.",
                expected="a new name: nothing is overwritten unasked",
                fix="add --overwrite for a new version of it; the Hub keeps the old one",
            ) from error
        raise DataError(f"The Hub refused {repository}: {error}", fix="check the token's rights") from error
    except (HTTPError, OSError) as error:
        raise DataError(
            f"The Hub could not be reached: {error}", fix="check network and HF_ENDPOINT"
        ) from error
    return str(page)
