"""The recipe of the bundled model: files of the packages written by hand, clusters, the export."""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from profactory.data.homology import find_mmseqs
from profactory.pretraining.export import export_model
from profactory.pretraining.network import build_config, build_model

RECIPE = Path(__file__).parents[3] / "recipes" / "mini"
_STDAA = "-ABCDEFGHIKLMNPQRSTVWXYZU*OJ"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module prepare.py, with its neighbours."""
    monkeypatch.syspath_prepend(str(RECIPE))
    names = ("packages", "probing", "prepare", "export")
    yield importlib.import_module("prepare")
    for name in names:
        sys.modules.pop(name, None)


def _blast(folder: Path, records: dict[str, str]) -> None:
    """Write a BLAST database of version 4: index, headers as ASN.1 strings, residues as codes."""
    folder.mkdir(parents=True)
    # Of 66 letters, so that the byte with their number is itself one ("B") and must not join the name.
    headers = [b"\x30\x80\x1a" + bytes([66]) + f"{name}|".ljust(66, "G").encode() for name in records]
    codes = [bytes(_STDAA.index(letter) for letter in sequence) + b"\0" for sequence in records.values()]
    index = struct.pack(">ii", 4, 1) + struct.pack(">i", 2) + b"db" + struct.pack(">i", 3) + b"day"
    index += struct.pack(">i", len(records)) + bytes(8) + struct.pack(">i", 99)
    for start, parts in ((0, headers), (1, codes)):
        ends = np.cumsum([start, *map(len, parts)])
        index += struct.pack(f">{len(ends)}i", *ends.tolist())
    (folder / "goasp.fasta.pin").write_bytes(index)
    (folder / "goasp.fasta.phr").write_bytes(b"".join(headers))
    (folder / "goasp.fasta.psq").write_bytes(b"\0" + b"".join(codes))


def _packages(root: Path, recipe: ModuleType) -> Path:
    packages = sys.modules["packages"]
    go = root / packages.GO_FOLDER
    _blast(go / "MFO", {"P12345": "MKTAYIAK", "A0A0B4J2F0": "ACDEFGHIKLMNPQRSTVWY"})
    for ontology in ("BPO", "CCO"):
        _blast(go / ontology, {"P12345": "MKTAYIAK", "Q99999": "MM" + "U" * 60})
    (go / "fullTransitiveClosureGO.txt").write_text("GO:2\tis_a\tGO:1\t1\nGO:2\tis_a\tGO:0\t2\n")
    for ontology, line in {"MFO": "P12345\tGO:2\tGO:2\n", "BPO": "P12345\tGO:7\n", "CCO": ""}.items():
        (go / ontology / "goasp_annot.dat").write_text(line)
    (go / "nameMapping.txt").write_text("GO:0\troot\nGO:1\tbranch\n")
    return root


def test_sequences_and_terms_of_swissprot_are_read(tmp_path: Path, recipe: ModuleType) -> None:
    packages, root = sys.modules["packages"], _packages(tmp_path, recipe)
    assert packages.swissprot(root) == {
        "P12345": "MKTAYIAK",
        "A0A0B4J2F0": "ACDEFGHIKLMNPQRSTVWY",
        "Q99999": "MM" + "U" * 60,
    }
    assert packages.go_terms(root) == {"P12345": {"GO:0", "GO:1", "GO:2", "GO:7"}}
    assert packages.go_names(root) == {"GO:0": "root", "GO:1": "branch"}


def test_chains_are_read_with_states_and_accessibility(tmp_path: Path, recipe: ModuleType) -> None:
    packages = sys.modules["packages"]
    entries = b"".join(
        struct.pack("<I", 4)
        + name
        + struct.pack("<I", 1)
        + b"A"
        + struct.pack("<IHH", start, length, 1)
        + bytes(12)
        for name, start, length in ((b"1ABC", 0, 3), (b"2XYZ", 3, 2))
    )
    arrays = {1: b"AGWXA", 24: bytes(5 * 24), 4: bytes(20), 2: struct.pack("<5H", 0, 104, 142, 50, 65)}
    content = [arrays[1], arrays[24], arrays[4], arrays[2], bytes(10), b"HEC-G"]
    body = b"".join(struct.pack("<Q", 5) + part for part in content)
    file = tmp_path / packages.STRUCTURES
    file.parent.mkdir(parents=True)
    file.write_bytes(b"head" + b"\xff" * 4 + struct.pack("<Q", 2) + entries + body)
    first, second = packages.chains(tmp_path)
    # Alanine has 129, glycine 104 and tryptophan 285 square Angstrom at most.
    assert (first.name, first.sequence, first.ss8, first.rsa_decile) == ("1ABC_A", "AGW", "HEC", "094")
    assert (second.name, second.sequence, second.ss8, second.rsa_decile) == ("2XYZ_A", "XA", "-G", "05")


@pytest.mark.skipif(find_mmseqs() is None, reason="MMseqs2 is not installed")
def test_relatives_of_a_test_sequence_are_left_out_and_the_longest_stays(recipe: ModuleType) -> None:
    rng = np.random.default_rng(0)
    one, two, three = ("".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 120)) for _ in range(3))
    records = {"near-test": one[:110], "short": two[:110], "long": two, "alone": three}
    parts, representatives = recipe.divide(records, [one])
    assert parts["near-test"] == "test"
    assert parts["short"] == parts["long"] != "test"
    assert {"long", "alone"} <= representatives
    assert "short" not in representatives


def test_the_export_has_16_bits(tmp_path: Path, recipe: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    export_model(build_model(build_config(64, 1), seed=0), tmp_path / "model")
    script = importlib.import_module("export")
    monkeypatch.setattr(
        sys, "argv", ["export.py", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    )
    script.main()
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["esm.embeddings.word_embeddings.weight"].dtype == torch.float16
