"""What the page says of chains: colours, legends, and the place where a chain is drawn."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from profactory.errors import DataError, ReadError
from profactory.structure.files import SUFFIXES
from profactory.structure.viewing import CHAINS
from profactory.web import structures
from profactory.web.residues import by_confidence, by_prediction, painted
from profactory.web.words import Words
from profactory.web.workspace import Workspace

ENGLISH = Words("en")
HOSTILE = '"><img src=x onerror=alert(1)>'
ROW: dict[str, Any] = {
    "id": "x_A", "chain": "A", "sequence": "MKTAYIAKQRQI", "foldseek_3di": "DPVVDDPVVLLD",
    "ss8": "CHHHHTEEEECC", "ss3": "CHHHHCEEEECC", "rsa": "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,,0.9,1.0",
    "plddt": "", "mean_plddt": None, "breaks": 0, "missing_residues": 0, "modified_residues": "",
    "view": "chain-0.pdb",
}  # fmt: skip


def test_plddt_has_the_bands_of_alphafold_db() -> None:
    found = by_confidence(["95.2", "90", "89.9", "70", "50", "49.9", ""])
    deep, light, yellow, orange = "#0053D6", "#65CBF3", "#FFDB13", "#FF7D45"
    assert found.colours == [deep, deep, light, light, yellow, orange, ""]
    assert all(text in found.legend for text in ("90 – 100", "70 – 90", "50 – 70", "0 – 50"))


def test_numbers_run_from_dark_to_bright_and_classes_have_their_own_colours() -> None:
    numbers = by_prediction("0.5,1.5,,1.0", 4, ENGLISH)
    assert (numbers.colours[0], numbers.colours[1]) == ("#00224e", "#fee838")  # the ends of cividis
    assert numbers.colours[2] == ""
    classes = by_prediction("HHEC-", 5, ENGLISH)
    assert classes.colours[0] == classes.colours[1]
    assert len(set(classes.colours)) == 4  # H, E, C, and nothing for the hyphen
    assert "H (2)" in classes.legend


@pytest.mark.parametrize(
    ("plddt", "style"), [("95", "background:#0053D6;color:#fff"), ("60", "background:#FFDB13;color:#111")]
)
def test_letters_can_be_read_on_their_ground(plddt: str, style: str) -> None:
    assert style in painted("M", by_confidence([plddt]))


def test_strings_stand_below_each_other() -> None:
    shown = html.unescape(re.sub(r"<[^>]+>", "|", structures.strings_of(ROW, ENGLISH)))
    assert "MKTAYIAKQR\nDPVVDDPVVL\nCHHHHTEEEE\nCHHHHCEEEE" in shown
    assert "QI\nLD\nCC\nCC" in shown


def test_a_chain_is_coloured_by_what_is_known() -> None:
    assert structures.colourings_of(ROW) == ["ss3", "rsa"]
    assert structures.colour_chain(ROW, "plddt", ENGLISH).marks == list(ROW["ss3"])  # there is no pLDDT
    assert structures.colour_chain(ROW, "rsa", ENGLISH).colours[9] == ""
    predicted = structures.colour_chain(ROW, "prediction", ENGLISH, prediction="a,b,a,b,a,b,a,b,a,b,a,<i>")
    assert predicted.marks[-1] == "<i>"
    assert "<i>" not in predicted.legend.replace("<i style", "")


def test_the_browser_is_told_in_attributes_alone() -> None:
    row = {**ROW, "chain": HOSTILE}
    prediction = ",".join([HOSTILE.replace(",", "")] * 12)
    colouring = structures.colour_chain(row, "prediction", ENGLISH, prediction=prediction)
    other = {**ROW, "chain": "B", "view": "chain-1.pdb"}
    shown = structures.viewer([row, other], row, "0" * 16, colouring, ENGLISH)
    assert shown.count("<") == 4  # the frame and its button, opened and closed
    data = dict(re.findall(r'data-(\w+)="([^"]*)"', shown))
    assert json.loads(html.unescape(data["marks"])) == [HOSTILE] * 12
    assert data["file"] == f"../structures/{'0' * 16}/chain-0.pdb"
    assert data["others"] == f"../structures/{'0' * 16}/chain-1.pdb"
    assert len(data["colours"].split(",")) == len(data["states"]) == 12


def test_a_chain_too_long_to_draw_says_so() -> None:
    row = {**ROW, "view": ""}
    shown = structures.viewer([row], row, "0" * 16, structures.colour_chain(row, "ss3", ENGLISH), ENGLISH)
    assert "too long to be drawn" in shown


def test_only_files_of_the_page_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.pdb").write_text("ATOM", encoding="utf-8")
    (tmp_path / "data" / "mine.cif.gz").write_bytes(b"x")
    (tmp_path / "data" / "mine.csv").write_text("x", encoding="utf-8")
    (tmp_path / "data" / "link.pdb").symlink_to(tmp_path / "secret.pdb")
    workspace = Workspace(tmp_path / "runs", tmp_path / "data")
    mine = str(tmp_path / "data" / "mine.cif.gz")
    assert mine in workspace.structure_choices()
    assert workspace.check_structure(mine) == mine
    for path in (tmp_path / "secret.pdb", tmp_path / "data" / "link.pdb", "data/../secret.pdb", ""):
        with pytest.raises(DataError):
            workspace.check_structure(str(path))
    upload = tmp_path / "upload"
    upload.write_text("ATOM", encoding="utf-8")
    kept = workspace.keep_upload(upload, "../<i>.pdb.gz", SUFFIXES)
    assert kept.name == "_i_.pdb.gz"
    assert workspace.check_structure(str(kept))
    with pytest.raises(ReadError, match="no kind"):
        workspace.keep_upload(kept, "x.csv", SUFFIXES)


def test_a_view_is_found_by_its_random_name_only(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs", tmp_path / "data")
    folder = workspace.new_view()
    folder.mkdir(parents=True)
    assert structures.chains_of(workspace, folder.name) == []
    (folder / CHAINS).write_text(json.dumps([ROW]), encoding="utf-8")
    assert structures.chains_of(workspace, folder.name) == [ROW]
    for name in ("", "..", f"../{folder.name}", f"{folder.name}/.", "0" * 16, None):
        assert structures.chains_of(workspace, name) == []
