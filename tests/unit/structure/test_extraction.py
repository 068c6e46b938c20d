"""From files to a table: every chain, bad files listed, interrupted work goes on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from profactory.errors import DataError, ProFactoryError
from profactory.structure import extraction
from profactory.structure.extraction import extract_structures

STRUCTURES = Path(__file__).parents[2] / "support" / "structures"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_every_chain_is_a_row_and_every_string_as_long_as_the_sequence(tmp_path: Path) -> None:
    report = extract_structures([STRUCTURES], tmp_path / "out.csv", processes=1)
    rows = table(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["1ejg", "1ubi", "2hhb_A", "2hhb_B", "2hhb_C", "2hhb_D"]
    assert (report.files, report.chains, report.problems) == (3, 6, [])
    for row in rows:
        assert len(row["sequence"]) == len(row["foldseek_3di"]) == len(row["ss8"]) == len(row["ss3"])
        assert len(row["rsa"].split(",")) == len(row["sequence"])
        assert row["plddt"] == row["mean_plddt"] == ""
    assert not list(tmp_path.glob(".*"))


def test_bad_files_are_listed_and_the_others_written(tmp_path: Path) -> None:
    shutil.copy(STRUCTURES / "1ubi.pdb.gz", tmp_path)
    (tmp_path / "page.pdb").write_text("<html>not found</html>")
    (tmp_path / "again").mkdir()
    shutil.copy(STRUCTURES / "1ubi.pdb.gz", tmp_path / "again")
    report = extract_structures([tmp_path], tmp_path / "out.csv", processes=1)
    assert [row["id"] for row in table(tmp_path / "out.csv")] == ["1ubi"]
    reasons = [problem.reason for problem in report.problems]
    assert any("page or message" in reason for reason in reasons)
    assert any("'1ubi' is taken by" in reason for reason in reasons)
    assert "2 files could not be used" in report.text()


def test_nothing_usable_is_an_error_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "page.pdb").write_text("<html>not found</html>")
    with pytest.raises(DataError, match="None of 1 files") as caught:
        extract_structures([tmp_path], tmp_path / "out.csv")
    assert "page or message" in str(caught.value)
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(ProFactoryError, match="exists already"):
        extract_structures([STRUCTURES], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_work_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = extraction.rows_of
    done: list[str] = []

    def rows_of(path: Path, **options: object) -> list[dict[str, object]]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(path.name)
        return read(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(extraction, "rows_of", rows_of)
    with pytest.raises(KeyboardInterrupt):
        extract_structures([STRUCTURES], tmp_path / "out.csv", processes=1)
    assert not (tmp_path / "out.csv").exists()
    again: list[str] = []
    monkeypatch.setattr(
        extraction, "rows_of", lambda path, **options: again.append(path.name) or read(path, **options)
    )
    extract_structures([STRUCTURES], tmp_path / "out.csv", processes=1)
    assert set(done).isdisjoint(again)
    monkeypatch.undo()
    extract_structures([STRUCTURES], tmp_path / "whole.csv", processes=1)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_prediction_has_its_confidence_and_unsure_letters_can_be_masked(tmp_path: Path) -> None:
    import gzip

    text = gzip.decompress((STRUCTURES / "1ubi.pdb.gz").read_bytes()).decode()
    atoms = [line for line in text.splitlines() if line.startswith("ATOM")]
    unsure = [f"{line[:60]}{40.0 if int(line[22:26]) <= 10 else 90.0:6.2f}{line[66:]}" for line in atoms]
    predicted = "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR UBIQUITIN\n" + "\n".join(unsure) + "\nEND\n"
    (tmp_path / "AF-P0CG48-F1-model_v4.pdb").write_text(predicted)
    extract_structures([tmp_path], tmp_path / "out.csv", mask_below=70)
    (row,) = table(tmp_path / "out.csv")
    assert row["id"] == "P0CG48"
    assert row["plddt"].split(",")[:2] == ["40.0", "40.0"]
    assert row["mean_plddt"] == f"{(10 * 40 + 66 * 90) / 76:.1f}"
    assert row["foldseek_3di"].startswith("X" * 10)
    assert "X" not in row["foldseek_3di"][10:]
