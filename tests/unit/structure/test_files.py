"""Which files are structures, and what is said of those that are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from profactory.errors import DataError, ReadError
from profactory.structure.chains import chains_of
from profactory.structure.extraction import rows_of
from profactory.structure.files import find_files, identifier_of, read_atoms

UBI = Path(__file__).parents[2] / "support" / "structures" / "1ubi.pdb.gz"


def other_formats(folder: Path) -> list[Path]:
    """Write 1ubi as mmCIF and BinaryCIF with biotite."""
    import io

    from biotite.structure.io import pdb, pdbx

    text = gzip.decompress(UBI.read_bytes()).decode()
    atoms = pdb.PDBFile.read(io.StringIO(text)).get_structure(model=1, extra_fields=["b_factor"])
    written = []
    for name, kind in {"1ubi.cif": pdbx.CIFFile, "1ubi.bcif": pdbx.BinaryCIFFile}.items():
        file = kind()
        pdbx.set_structure(file, atoms)
        file.write(str(folder / name))
        written.append(folder / name)
    zipped = folder / "zipped.cif.gz"
    zipped.write_bytes(gzip.compress(written[0].read_bytes()))
    return [*written, zipped]


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    options = {"chains": None, "model": 1, "mask_below": None}
    (wanted,) = rows_of(UBI, **options)
    for path in other_formats(tmp_path):
        (row,) = rows_of(path, **options)
        assert {**row, "file": "", "id": ""} == {**wanted, "file": "", "id": ""}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pdb", b"", "is empty"),
        ("a.pdb", b"<!DOCTYPE html><html>404</html>", "page or message of a server"),
        ("a.cif", b'{"detail": "Not Found"}', "page or message of a server"),
        ("a.pdb", b"sequence,label\nMKT,1\n", "no line with an atom"),
        ("a.cif", b"data_X\n_entry.id X\n", "a.cif"),
        ("a.bcif", b"\x83\xa7\x00\xff\x01" * 40, "a.bcif"),
        ("a.pdb.gz", b"\x1f\x8bnot gzip", "cannot be read"),
    ],
)
def test_what_is_no_structure_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_atoms(path)


def test_a_chain_or_model_that_does_not_exist() -> None:
    atoms, _ = read_atoms(UBI)
    with pytest.raises(ReadError, match="no protein chain Z") as caught:
        chains_of(atoms, ["Z"])
    assert caught.value.expected == "one of A"
    with pytest.raises(ReadError, match="1ubi"):
        read_atoms(UBI, model=7)


def test_folders_are_searched_and_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.pdb", "deep/a.CIF.gz", "notes.txt"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in find_files([tmp_path])] == ["b.pdb", "a.CIF.gz"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="no structure file"):
        find_files([tmp_path / "empty"])
    with pytest.raises(ReadError, match="does not exist"):
        find_files([tmp_path / "nowhere"])


def test_names() -> None:
    named = {
        "1ubi.pdb": "1ubi",
        "x/2hhb.v2.cif.gz": "2hhb.v2",
        "AF-P69905-F1-model_v4.cif": "P69905",
        "AF-Q8WZ42-F2-model_v4.pdb.gz": "Q8WZ42-F2",
    }
    assert {path: identifier_of(Path(path)) for path in named} == named
