"""A model in one file: the same model elsewhere, and nothing that a stranger could have put into it."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profactory import api
from profactory.errors import ModelLoadError, RunExistsError
from profactory.files import cache_dir
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.sharing.bundle import open_bundle, write_bundle
from profactory.tasks import Task, TaskKind
from tests.support.models import tiny_esm

SEQUENCES = ["MKTAYIAKQR", "ACDEFGHIKLMNPQRSTVWY"]
Zip = zipfile.ZipFile


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
    spec = resolve(str(tiny_esm(folder / "tiny")))
    return ProteinModel.build(spec, task, method="lora").save(folder / "model")


def test_the_file_predicts_as_the_folder_does(model: Path, tmp_path: Path) -> None:
    report = api.export(model, tmp_path / "model.zip", format="zip")
    assert report.backbone == ""
    moved = (tmp_path / "model.zip").rename(tmp_path / "elsewhere.zip")
    expected = api.load(model, device="cpu").predict(SEQUENCES)
    assert api.predict(moved, SEQUENCES, device="cpu") == expected
    unpacked = list((cache_dir() / "bundles").iterdir())
    api.load(moved, device="cpu")
    assert list((cache_dir() / "bundles").iterdir()) == unpacked  # once


def test_the_same_model_gives_the_same_bytes_and_nothing_is_overwritten(model: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.zip", tmp_path / "two.zip"
    write_bundle(model, one)
    write_bundle(model, two)
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(RunExistsError, match="--overwrite"):
        write_bundle(model, one)


def test_hidden_files_are_left_out(model: Path, tmp_path: Path) -> None:
    """What a system or a killed process put beside the files of a model."""
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    (copy / ".model.safetensors.tmp").write_bytes(b"half")
    (copy / ".DS_Store").write_bytes(b"")
    hidden, plain = write_bundle(copy, tmp_path / "a.zip"), write_bundle(model, tmp_path / "b.zip")
    assert hidden.read_bytes() == plain.read_bytes()


def test_folders_with_other_files_are_not_packed(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "weights.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ModelLoadError, match=r"weights\.pkl"):
        write_bundle(folder, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def _entry(name: str, mode: int = stat.S_IFREG | 0o644, content: bytes = b"{}") -> Callable[[Zip], None]:
    def add(archive: Zip) -> None:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = name
        info.external_attr = mode << 16
        archive.writestr(info, content)

    return add


def _several(*names: str) -> Callable[[Zip], None]:
    def add(archive: Zip) -> None:
        for name in names:
            _entry(name)(archive)

    return add


def _bomb(archive: Zip) -> None:
    archive.writestr("vocab.txt", b"\0" * 50_000_000, zipfile.ZIP_DEFLATED)


CRAFTED: dict[str, Callable[[Zip], None]] = {
    "parent": _entry("../evil.json"),
    "deep parent": _entry("adapter/../../evil.json"),
    "absolute": _entry("/etc/evil.json"),
    "drive": _entry("C:/evil.json"),
    "drive without slash": _entry("C:evil.json"),
    "backslash": _entry("..\\evil.json"),
    "UNC": _entry("\\\\host\\share\\evil.json"),
    "double slash": _entry("//host/evil.json"),
    "dot": _entry("./evil.json"),
    "empty part": _entry("adapter//evil.json"),
    "hidden": _entry(".bashrc.json"),
    "home": _entry("~/evil.json"),
    "NUL": _entry("evil.json\0.txt"),
    "newline": _entry("evil\n.json"),
    "escape": _entry("evil\x1b[31m.json"),
    "right to left": _entry("evil\u202etxt.json"),
    "letters beyond ASCII": _entry("évil.json"),
    "reserved": _entry("nul.json"),
    "too deep": _entry("a/b/c/d/e/f.json"),
    "too long": _entry("a" * 200 + ".json"),
    "symlink": _entry("vocab.txt", stat.S_IFLNK | 0o777, b"/etc/passwd"),
    "device": _entry("vocab.txt", stat.S_IFCHR | 0o666),
    "fifo": _entry("vocab.txt", stat.S_IFIFO | 0o666),
    "socket": _entry("vocab.txt", stat.S_IFSOCK | 0o666),
    "folder": _entry("adapter/"),
    "folder by mode": _entry("adapter.json", stat.S_IFDIR | 0o755),
    "code": _entry("modeling.py"),
    "pickle": _entry("pytorch_model.bin"),
    "pickle by another name": _entry("head.joblib"),
    "shared object": _entry("libx.so"),
    "no ending": _entry("Makefile"),
    "upper-case ending": _entry("evil.JSON"),
    "twice in another case": _several("vocab.txt", "VOCAB.txt"),
    "too many": _several(*(f"f{i}.json" for i in range(2001))),
    "bomb": _bomb,
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_files_are_refused_before_anything_is_written(kind: str, tmp_path: Path) -> None:
    """S3."""
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        CRAFTED[kind](archive)
    with pytest.raises(ModelLoadError, match="not a model in one file"):
        open_bundle(file)
    assert not (cache_dir() / "bundles").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("config.json", '{"other": 1}')
    with pytest.raises(ModelLoadError, match="two entries"):
        open_bundle(file)


def test_sizes_that_lie_are_refused(model: Path, tmp_path: Path) -> None:
    file = write_bundle(model, tmp_path / "model.zip")
    content = bytearray(file.read_bytes())
    directory = content.rindex(b"PK\x01\x02")  # the last entry of the central directory
    for size in (10, 10**4):  # the entry unpacks to some 100 bytes
        lie = bytearray(content)
        lie[directory + 24 : directory + 28] = size.to_bytes(4, "little")
        (tmp_path / "lie.zip").write_bytes(lie)
        with pytest.raises(ModelLoadError):
            open_bundle(tmp_path / "lie.zip")
    assert not (cache_dir() / "bundles").exists() or not list((cache_dir() / "bundles").iterdir())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_whole(model: Path, data: st.DataObject) -> None:
    """One changed byte or a cut: our error, or the model as it was."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("config.json", (model / "config.json").read_bytes())
    content = bytearray(stream.getvalue())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    file = cache_dir() / "damaged.zip"
    file.write_bytes(content)
    try:
        folder = open_bundle(file)
    except ModelLoadError:
        return
    assert (folder / "config.json").read_bytes() == (model / "config.json").read_bytes()


def test_what_is_no_zip_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.zip"
    file.write_bytes(b"\x80\x04\x95 not a zip")
    with pytest.raises(ModelLoadError, match="no zip file"):
        api.load(file)
