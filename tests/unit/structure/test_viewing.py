"""What a viewer gets of a structure: coordinates alone, numbered as the strings count the residues."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from profactory.structure.chains import chains_of
from profactory.structure.extraction import extract_structures
from profactory.structure.files import read_atoms
from profactory.structure.viewing import CHAINS, TABLE, backbone, main, write_view

STRUCTURES = Path(__file__).parents[2] / "support" / "structures"
HAEMOGLOBIN = STRUCTURES / "2hhb.pdb.gz"
UBI = STRUCTURES / "1ubi.pdb.gz"


def _lines(text: str) -> list[tuple[str, str, int, tuple[float, ...]]]:
    """Read ATOM lines by the columns of the format: atom, residue, number, place."""
    return [
        (
            line[12:16].strip(),
            line[17:20],
            int(line[22:26]),
            tuple(float(line[at : at + 8]) for at in (30, 38, 46)),
        )
        for line in text.splitlines()
        if line.startswith("ATOM")
    ]


def test_every_chain_has_strings_and_a_backbone(tmp_path: Path) -> None:
    rows = write_view(HAEMOGLOBIN, tmp_path / "view")
    assert [row["chain"] for row in rows] == ["A", "B", "C", "D"]
    assert json.loads((tmp_path / "view" / CHAINS).read_text(encoding="utf-8")) == rows
    original = gzip.decompress(HAEMOGLOBIN.read_bytes()).decode()
    of_chain = [
        entry[3]
        for line in original.splitlines()
        if line[:4] == "ATOM" and line[21] == "D" and line[12:16] == " CA "
        for entry in _lines(line)
    ]
    drawn = _lines((tmp_path / "view" / rows[3]["view"]).read_text(encoding="ascii"))
    alphas = [entry for entry in drawn if entry[0] == "CA"]
    assert [entry[3] for entry in alphas] == of_chain
    assert [entry[2] for entry in alphas] == list(range(1, len(rows[3]["sequence"]) + 1))
    assert {entry[0] for entry in drawn} == {"N", "CA", "C", "O"}


def test_the_table_is_that_of_the_command(tmp_path: Path) -> None:
    write_view(HAEMOGLOBIN, tmp_path / "view")
    extract_structures([HAEMOGLOBIN], tmp_path / "typed.csv")
    shown, typed = (
        list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
        for file in (tmp_path / "view" / TABLE, tmp_path / "typed.csv")
    )
    assert [row.pop("file") for row in shown] == ["2hhb.pdb.gz"] * 4  # the page does not tell its folders
    assert shown == [{k: v for k, v in row.items() if k != "file"} for row in typed]


def test_numbers_and_names_of_the_file_are_left_behind(tmp_path: Path) -> None:
    """Residues are counted from 1 whatever the file calls them, and a name is no way in."""
    lines = gzip.decompress(UBI.read_bytes()).decode().splitlines()
    changed = []
    for line in lines:
        if line[:4] == "ATOM" and line[21:26] != "A   5":  # residue 5 is not in the file
            number = int(line[22:26])
            name = "<i>" if number == 3 else line[17:20]
            changed.append(f"{line[:17]}{name} A{number + 700:4d}{line[26:]}")
    odd = tmp_path / "odd.pdb"
    odd.write_text("\n".join(changed), encoding="utf-8")
    atoms, _ = read_atoms(odd)
    (chain,) = chains_of(atoms)
    text = backbone(chain)
    numbers = [entry[2] for entry in _lines(text) if entry[0] == "CA"]
    assert numbers == list(range(1, len(chain) + 1))
    assert "<" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [("<!DOCTYPE html><p>404</p>", "page or message of a server"), ("MKT", "no line with")],
)
def test_the_process_says_in_json_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    bad = tmp_path / "bad.pdb"
    bad.write_text(content, encoding="utf-8")
    assert main([str(bad), str(tmp_path / "view")]) == 1
    assert said in json.loads(capsys.readouterr().out)["found"]
    assert not (tmp_path / "view").exists()
    assert main([str(UBI), str(tmp_path / "view")]) == 0
    assert [row["chain"] for row in json.loads(capsys.readouterr().out)] == ["A"]
