"""What a user reads for each kind of bad input, word for word.

The messages are kept in ``golden/bad_input.json``. After a wanted change, run the tests with
``PROFACTORY_UPDATE_GOLDEN=1`` and read the difference.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profactory.data.prepare import prepare_dataset
from profactory.data.reading import Limits, open_table
from profactory.errors import DataError, ProFactoryError

GOLDEN = Path(__file__).with_name("golden") / "bad_input.json"
UPDATE = bool(os.environ.get("PROFACTORY_UPDATE_GOLDEN"))
SMALL = Limits(field=200, line=1000, columns=5, block=100)

GOOD = b"sequence,label\nMKT,a\nACD,b\n"
Make = Callable[[Path], Path]


def file(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    return make


def folder(**files: bytes) -> Make:
    def make(parent: Path) -> Path:
        path = parent / "data"
        path.mkdir()
        for name, data in files.items():
            (path / name.replace("__", ".")).write_bytes(data)
        return path

    return make


def workbook(name: str, *rows: list[object]) -> Make:
    def make(parent: Path) -> Path:
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        book.save(parent / "book.xlsx")
        return (parent / "book.xlsx").rename(parent / name)

    return make


def parquet(name: str, **columns: list[object]) -> Make:
    def make(parent: Path) -> Path:
        pq.write_table(pa.table(columns), parent / name)
        return parent / name

    return make


def misspelt(parent: Path) -> Path:
    (parent / "proteins.csv").write_bytes(GOOD)
    return parent / "protiens.csv"


def cut_gzip(parent: Path) -> Path:
    return file("data.csv.gz", gzip.compress(GOOD * 50)[:-12])(parent)


CASES: dict[str, Make] = {
    "missing file": misspelt,
    "missing folder": lambda parent: parent / "nowhere" / "data.csv",
    "no file for a pattern": lambda parent: parent / "part-*.csv",
    "empty file": file("data.csv", b""),
    "only white space": file("data.csv", b"\n \n\n"),
    "only blank lines": file("data.csv", b"\n\n,\n"),
    "header only": file("data.csv", b"sequence,label\n"),
    "empty folder": folder(),
    "folder without tables": folder(notes__md=b"hello"),
    "two validation files": folder(train__csv=GOOD, val__csv=GOOD, valid__csv=GOOD),
    "latin-1": file("data.csv", b"sequence,name\nMKT,caf\xe9\n"),
    "utf-16 without a mark": file("data.csv", GOOD.decode().encode("utf-16-le")),
    "utf-32": file("data.csv", b"\xff\xfe\0\0" + GOOD.decode().encode("utf-32-le")),
    "half a utf-16 character": file("data.csv", GOOD.decode().encode("utf-16") + b"x"),
    "binary": file("data.csv", bytes(range(256)) * 20),
    "workbook named csv": workbook("data.csv", ["sequence", "label"], ["MKT", 1]),
    "empty workbook": workbook("data.xlsx"),
    "text named xlsx": file("data.xlsx", GOOD),
    "parquet named csv": parquet("data.csv", sequence=["MKT"], label=["a"]),
    "text named parquet": file("data.parquet", GOOD),
    "damaged parquet": file("data.parquet", b"PAR1" + b"x" * 100),
    "bytes in parquet": parquet("data.parquet", sequence=[b"MKT"], label=["a"]),
    "text named fasta": file("data.fasta", GOOD),
    "text named json": file("data.json", GOOD),
    "json array cut off": file("data.json", b'[{"sequence": "MKT", "label": 1}, {"seq'),
    "json of something else": file("data.json", b"[1, 2, 3]"),
    "zip": file("data.csv", b"PK\x03\x04" + b"x" * 50),
    "old excel": file("data.xls", b"\xd0\xcf\x11\xe0" + b"x" * 50),
    "bzip2": file("data.csv.bz2", b"BZh91AY"),
    "damaged gzip": cut_gzip,
    "fasta above its first record": file("data.fa", b">"[:0] + b"; old comment\n>P1 label=a\nMKT\n"),
    "duplicate, blank and padded headers": file("data.csv", b"sequence, label,,a,a\nMKT,1,2,3,4\n"),
    "blank first header, as pandas writes an index": file("data.csv", b",sequence,label\n0,MKT,1\n"),
    "too many columns": file("data.csv", b"sequence,a,b,c,d,e\nMKT,1,2,3,4,5\n"),
    "unclear delimiter": file("data.csv", b"a,b;c,d\n1,2;3,4\n"),
    "no header": file("data.csv", b"MKTAYIAKQRQISFVKSHFSRQ,1\nMKTAYIAKQRQISFVKSHFSRQ,0\n"),
    "no sequence column": file("data.csv", b"id,label\nP1,1\n"),
    "no label column": file("data.csv", b"sequence,tm\nMKT,1\n"),
    "two sequence columns": file("data.csv", b"seq,protein,label\nMKT,AC,1\n"),
    "unclosed quote": file("data.csv", GOOD + b'"MKT,a\n' + GOOD * 20),
    "unclosed quote at the end": file("data.csv", GOOD + b'"MKT,a\nACD,b\n'),
    "stray quote far away": file("data.csv", GOOD + b'AC,"b\nMKT,a\nAC,"b"\n'),
    "long field": file("data.csv", GOOD + b"A" * 300 + b",b\n"),
    "long quoted field": file("data.csv", GOOD + b'"' + b"A" * 300 + b'",b\n'),
    "long line": file("data.csv", GOOD + b"A" * 3000 + b",b\n"),
    "rows of every bad kind": file(
        "data.csv",
        b"sequence,label,split\nMKT,a,train\nMK1,a,train\n,b,train\nM-K,a,train\nMKT,b,train\nMKT,a,holdout\n"
        b"MKT,a\nM\0K,a,train\nMKT,,train\nMKT,c,test\n",
    ),
    "labels that are no numbers": file(
        "data.csv",
        b"sequence,label\n" + b"".join(b"MKT,%d.5\n" % i for i in range(40)) + b'MKT,"1,5"\nMKT,nan\n'
        b"MKT,1.5 \nMKT,inf\n",
    ),
    "labels of the wrong length": file("data.csv", b"sequence,label\n" + b"MKT,HHE\n" * 9 + b"MKT,HH\n"),
    "one class": file("data.csv", b"sequence,label\nMKT,a\nACD,a\n"),
    "no usable row": file("data.csv", b"sequence,label\n123,a\n456,b\n"),
    "label column missing in test": folder(train__csv=GOOD, test__csv=b"sequence,tag\nMKT,a\n"),
}


def message_of(make: Make, parent: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the message with which reading or preparing fails; paths relative to the folder."""
    monkeypatch.setattr("profactory.data.reading.Limits", lambda: SMALL)
    monkeypatch.chdir(parent)
    path = make(parent)
    with pytest.raises(ProFactoryError) as caught:
        prepare_dataset(path)
    return str(caught.value).replace(f"{parent}/", "").replace(str(parent), "HERE")


@pytest.mark.parametrize("name", CASES)
def test_message(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = message_of(CASES[name], tmp_path, monkeypatch)
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if UPDATE:
        golden[name] = message.split("\n")
        GOLDEN.parent.mkdir(exist_ok=True)
        ordered = {case: golden[case] for case in CASES if case in golden}
        GOLDEN.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    assert message.split("\n") == golden[name]


def test_golden_file_holds_nothing_else() -> None:
    assert list(json.loads(GOLDEN.read_text())) == list(CASES)


@pytest.mark.parametrize("name", ["empty file", "unclosed quote", "rows of every bad kind", "one class"])
def test_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    path = CASES[name](tmp_path)
    with pytest.raises((DataError, ProFactoryError)):
        prepare_dataset(path, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").rglob("*")) == []


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="this is a folder"):
        open_table(tmp_path)


@pytest.mark.parametrize("name", ["\0", "x" * 5000])
def test_impossible_names(name: str) -> None:
    with pytest.raises(DataError):
        open_table(name)
    with pytest.raises(DataError):
        prepare_dataset(name)
