"""The catalogue of public data sets, and descriptions in JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profactory.config import TrainConfig
from profactory.data.catalog import find_entry, list_catalog
from profactory.data.hub import parse_address
from profactory.data.prepare import prepare_dataset
from profactory.data.sources import durable_name, settings_of
from profactory.errors import ConfigError, ReadError
from profactory.pipeline.preparation import with_settings_of
from profactory.tasks import TaskKind

ROWS = "".join(f"MK{'ACDEFGHIKL'[i]},{i},{i % 2}\n" for i in range(10))


def test_every_entry_can_be_meant() -> None:
    entries = list_catalog()
    assert len({entry.name.casefold() for entry in entries}) == len(entries)
    for entry in entries:
        assert parse_address(entry.source) is not None
        assert bool(entry.classes) == (entry.task is not TaskKind.REGRESSION)
        assert entry.title


def test_what_the_predecessor_tells_wrongly_is_right() -> None:
    """Its table says multi-label of DeepLocMulti, single-label of SortingSignal, classes of FLIP and PETA."""
    kinds = {entry.name: entry.task for entry in list_catalog()}
    assert kinds["DeepLocMulti"] is TaskKind.SINGLE_LABEL
    assert kinds["DeepLoc2Multi"] is TaskKind.MULTI_LABEL
    assert kinds["SortingSignal"] is TaskKind.MULTI_LABEL
    assert {kind for name, kind in kinds.items() if name.startswith(("FLIP", "PETA"))} == {
        TaskKind.REGRESSION
    }


def test_variants_and_names_in_any_case() -> None:
    entry = find_entry("deeplocbinary_esmfold")
    assert entry is not None
    assert entry.source == "AI4Protein/DeepLocBinary_ESMFold"
    assert find_entry("DeepLocBinary_PDB") is None
    assert settings_of("go_mf") == {
        "sequence_column": "aa_seq",
        "label_column": ["label"],
        "task": TaskKind.MULTI_LABEL,
    }
    assert durable_name("go_mf") == "go_mf"


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ReadError, match="did you mean DeepLocBinary"):
        prepare_dataset("DeepLocBinery")


def describe(folder: Path, **content: Any) -> Path:
    (folder / "proteins.csv").write_text("protein,weight,active\n" + ROWS)
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def test_a_description_names_data_columns_and_task(tmp_path: Path) -> None:
    path = describe(
        tmp_path,
        dataset="proteins.csv",
        problem_type="regression",
        num_labels=1,
        metrics="mse,spearman_corr",
        monitor="spearman_corr",
        sequence_column_name="protein",
        label_column_name="weight",
        pdb_type="AlphaFold2",
    )
    prepared = prepare_dataset(path)
    assert prepared.task is not None
    assert prepared.task.kind is TaskKind.REGRESSION
    assert prepared.dataset.columns.labels == ("weight",)
    config = with_settings_of(str(path), TrainConfig())
    assert config.monitor == "spearman"
    typed = with_settings_of(str(path), TrainConfig(label_column=["active"], monitor="mae"))
    assert (typed.label_column, typed.monitor, typed.task) == (["active"], "mae", TaskKind.REGRESSION)


def test_files_of_the_splits(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("aa_seq,label\nMKA,a\nMKC,b\n")
    path = describe(tmp_path, train_file="one.csv", valid_file="two.csv", test_file="two.csv")
    assert prepare_dataset(path).counts["splits"] == {"train": 2, "validation": 2, "test": 2}


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    path = describe(
        tmp_path,
        dataset="",
        problem_typ="regression",
        problem_type="guess",
        normalize="often",
        train_file="none.csv",
    )
    with pytest.raises(ConfigError) as caught:
        prepare_dataset(path)
    said = str(caught.value)
    for part in (
        "'dataset' is ''",
        "did you mean 'problem_type'",
        "'guess'",
        "'often'",
        "'none.csv', which is no file",
    ):
        assert part in said


def test_json_tables_are_no_descriptions(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"sequence": "MKA", "label": "a"}, {"sequence": "MKC", "label": "b"}]))
    assert len(prepare_dataset(path).dataset) == 2


def test_a_description_of_a_description_is_refused(tmp_path: Path) -> None:
    path = describe(tmp_path, dataset="config.json")
    with pytest.raises(ConfigError, match="names another description"):
        prepare_dataset(path)


def test_what_has_no_meaning_here_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"sequence_column_name": "protein", "label_column_name": "active"}
    path = describe(tmp_path, dataset="proteins.csv", pdb_dir="x", **columns)
    caplog.set_level("INFO", "profactory")
    prepare_dataset(path)
    assert caplog.text.count("pdb_dir (structures are not read)") == 1
