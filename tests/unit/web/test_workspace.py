"""What the page may touch: nothing outside runs, data and uploads, by whatever path."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from profactory.errors import DataError, NotARunError, ProFactoryError, ReadError
from profactory.runs import Run
from profactory.web.workspace import KEPT_SECONDS, Workspace, is_public


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for name in ("runs", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret.csv").write_text("sequence,label\nMKT,a\n", encoding="utf-8")
    return Workspace(tmp_path / "runs", tmp_path / "data")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "x\0", "C:\\x", "~root", "a" * 200]
)
def test_names_that_lead_elsewhere_are_no_runs(workspace: Workspace, name: str) -> None:
    with pytest.raises(NotARunError):
        workspace.run_path(name)


def test_data_of_the_folder_bundled_sets_and_uploads_may_be_read(workspace: Workspace) -> None:
    inside = workspace.data / "inner" / "mine.csv"
    inside.parent.mkdir()
    inside.write_text("sequence,label\nMKT,a\n", encoding="utf-8")
    assert workspace.check_data(str(inside)) == str(inside)
    assert workspace.check_data("bundled:demo-location") == "bundled:demo-location"
    assert str(inside) in workspace.data_choices()


@pytest.mark.parametrize(
    "path", ["secret.csv", "data/../secret.csv", "data/link.csv", "data/folder/secret.csv", "/etc/passwd"]
)
def test_data_elsewhere_are_refused(workspace: Workspace, path: str) -> None:
    root = workspace.data.parent
    (workspace.data / "link.csv").symlink_to(root / "secret.csv")
    (workspace.data / "folder").symlink_to(root)
    with pytest.raises(DataError, match="data folder") as refusal:
        workspace.check_data(str(root / path))
    assert refusal.value.fix


def test_no_data_and_vanished_data_are_refused_in_words(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="No data"):
        workspace.check_data("")
    with pytest.raises(ReadError, match="There is no"):
        workspace.check_data(str(workspace.data / "gone.csv"))


def test_split_folders_can_be_chosen_as_a_whole(workspace: Workspace) -> None:
    parts = workspace.data / "parts"
    parts.mkdir()
    for name in ("train.csv", "valid.csv.gz"):
        (parts / name).write_bytes(b"")
    assert str(parts) in workspace.data_choices()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("proteins.csv", "proteins.csv"),
        ("../../etc/cron.d/x.csv", "x.csv"),
        ("..\\..\\x.tsv", "x.tsv"),
        ("蛋白质.csv", "蛋白质.csv"),
        ("<img onerror=1>.csv", "_img_onerror_1_.csv"),
        (".hidden.csv.gz", "hidden.csv.gz"),
    ],
)
def test_uploads_get_a_safe_name_in_a_random_folder(
    workspace: Workspace, tmp_path: Path, name: str, kept: str
) -> None:
    file = tmp_path / "upload"
    file.write_text("sequence\nMKT\n", encoding="utf-8")
    target = workspace.keep_upload(file, name)
    assert target.name == kept
    assert target.parent.parent == workspace.uploads
    assert len(target.parent.name) == 16
    assert workspace.check_data(str(target))


@pytest.mark.parametrize("name", ["model.pkl", "x.html", "x.svg", "run.sh", "csv", ""])
def test_uploads_of_other_kinds_are_refused(workspace: Workspace, tmp_path: Path, name: str) -> None:
    file = tmp_path / "upload"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(ReadError, match="no kind"):
        workspace.keep_upload(file, name)
    assert not workspace.uploads.exists()


def test_old_uploads_go_unless_a_run_was_trained_on_them(workspace: Workspace, tmp_path: Path) -> None:
    kept = []
    for name in ("used.csv", "old.csv", "new.csv"):
        file = tmp_path / "upload"
        file.write_text("sequence\nMKT\n", encoding="utf-8")
        kept.append(workspace.keep_upload(file, name))
    Run.create(workspace.runs / "one", {"data": str(kept[0]), "model": "mini"})
    long_ago = time.time() - KEPT_SECONDS - 60
    for path in kept[:2]:
        os.utime(path.parent, (long_ago, long_ago))
    workspace.forget_uploads()
    assert [path.is_file() for path in kept] == [True, False, True]


@pytest.mark.parametrize("name", ["DeepLocBinary", "AI4Protein/DeepLocBinary", "user/name@v1"])
def test_public_data_sets_may_be_named(workspace: Workspace, name: str) -> None:
    assert is_public(name)
    assert workspace.check_data(name) == name


@pytest.mark.parametrize(
    "name", ["runs/x", "data/../secret.csv", "/etc/passwd", "a\0b", "x" * 5000, "secret.csv"]
)
def test_paths_are_no_public_names(workspace: Workspace, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.data.parent)
    assert not is_public(name)
    with pytest.raises(DataError):
        workspace.check_data(name)


@pytest.mark.parametrize(
    "content",
    [
        {"dataset": "/etc", "problem_type": "regression"},
        {"dataset": "../secret.csv", "problem_type": "regression"},
        {"train_file": "../secret.csv", "problem_type": "regression"},
        {"dataset": "{root}/secret.csv", "problem_type": "regression"},
        {"dataset": "{root}/data/inner.json", "problem_type": "regression"},
    ],
)
def test_a_description_cannot_lead_out(workspace: Workspace, content: dict[str, str]) -> None:
    text = json.dumps(content).replace("{root}", str(workspace.data.parent))
    (workspace.data / "inner.json").write_text(
        '{"dataset": "/etc", "problem_type": "regression"}', encoding="utf-8"
    )
    description = workspace.data / "described.json"
    description.write_text(text, encoding="utf-8")
    with pytest.raises(ProFactoryError):
        workspace.check_data(str(description))
