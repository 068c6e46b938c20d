"""Structure files: which there are, what they are called, what is in them."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.errors import DataError, MissingExtraError, ReadError

if TYPE_CHECKING:
    from biotite.structure import AtomArray

SUFFIXES = (".pdb", ".ent", ".cif", ".mmcif", ".bcif")
_ALPHAFOLD = re.compile(r"AF-(?P<accession>[A-Z0-9]+)-F(?P<fragment>\d+)-model_v\d+\Z", re.IGNORECASE)
_PREDICTED = re.compile(rb"ALPHAFOLD|_ma_qa_metric", re.IGNORECASE)


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """Return structure files in a fixed order: those named, and those in folders and the folders below.

    Raises
    ------
    ReadError
        A path does not exist, or there is no structure file.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if not source.exists():
            raise ReadError(f"{source} does not exist.", expected="a structure file or a folder of them")
        inside = (
            sorted(p for p in source.rglob("*") if p.is_file() and has_suffix(p)) if source.is_dir() else []
        )
        found += inside or ([] if source.is_dir() else [source])
    if not found:
        raise ReadError(
            "There is no structure file.", expected=f"files ending in {', '.join(SUFFIXES)}, also with .gz"
        )
    return list(dict.fromkeys(found))


def has_suffix(path: Path) -> bool:
    """Whether a file is called as structures are."""
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def identifier_of(path: Path) -> str:
    """Return what a file's protein is called: its name, or the accession for files of AlphaFold DB.

    Examples
    --------
    >>> identifier_of(Path("pdb/1ubi.cif.gz")), identifier_of(Path("AF-P69905-F1-model_v4.pdb"))
    ('1ubi', 'P69905')
    """
    stem = path.name.removesuffix(".gz").removesuffix(".GZ")
    stem = stem[: -len(Path(stem).suffix)] if Path(stem).suffix.lower() in SUFFIXES else stem
    alphafold = _ALPHAFOLD.match(stem)
    if alphafold is None:
        return stem
    fragment = alphafold["fragment"]
    return alphafold["accession"] + ("" if fragment == "1" else f"-F{fragment}")


def read_atoms(path: Path, *, model: int = 1) -> tuple[AtomArray, bool]:
    """Read the atoms of one model; of alternative places each residue's most occupied.

    Returns
    -------
    atoms, predicted
        With ``b_factor``; whether the file says that it is a prediction with a confidence per residue.

    Raises
    ------
    ReadError
        It is no structure, or has no such model.
    MissingExtraError
    """
    raw = _bytes_of(path)
    try:
        atoms = _parse(raw, model)
    except ImportError as error:
        raise MissingExtraError("Reading structures", "structure") from error
    except DataError:
        raise
    except Exception as error:  # parsers raise whatever a damaged file leads them to
        raise ReadError(
            f"{path.name}: {_reason(error)}", expected="a PDB, mmCIF or BinaryCIF file"
        ) from error
    if not len(atoms):
        raise ReadError(f"{path.name}: there are no atoms in it.", expected="a PDB, mmCIF or BinaryCIF file")
    return atoms, bool(_PREDICTED.search(raw[:200_000]))


def _bytes_of(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        raise ReadError(f"{path.name} cannot be read: {error}") from error
    if not raw.strip():
        raise ReadError(f"{path.name} is empty.", expected="a PDB, mmCIF or BinaryCIF file")
    if raw.lstrip()[:200].lower().startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        raise ReadError(
            f"{path.name} is a page or message of a server, not a structure.",
            expected="a PDB, mmCIF or BinaryCIF file",
            fix="download it again",
        )
    return raw


def _parse(raw: bytes, model: int) -> Any:
    from biotite.structure.io import pdb, pdbx

    options: dict[str, Any] = {"model": model, "altloc": "occupancy", "extra_fields": ["b_factor"]}
    if b"\0" in raw[:4096] or not raw[:1].isascii():
        return pdbx.get_structure(pdbx.BinaryCIFFile.read(io.BytesIO(raw)), **options)
    text = io.StringIO(raw.decode("utf-8", "replace"))
    if re.search(rb"^data_", raw[:4096], re.MULTILINE):
        return pdbx.get_structure(pdbx.CIFFile.read(text), **options)
    if not re.search(rb"^(ATOM  |HETATM)", raw, re.MULTILINE):
        raise ReadError("there is no line with an atom.")
    return pdb.PDBFile.read(text).get_structure(**options)


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if text.endswith(".") else f"{text}."
