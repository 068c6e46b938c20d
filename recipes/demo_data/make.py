"""Make the small demonstration sets of `src/profactory/data/bundled` from the full task files.

Usage: ``python recipes/demo_data/make.py TASKS_DIR [OUT_DIR]``, where TASKS_DIR holds the files named in
``SETS`` (``subcellular_location.csv.gz`` ...; their origin is in `src/profactory/data/bundled/README.md`).
Nothing is made up: rows are sampled with a fixed seed, within each split, and keep the split that they had.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEED = 20240711
UNIPROT = "UniProtKB/Swiss-Prot 2014_01 through Debian metastudent-data 2.0.1-8"
UNIPROT_LICENCE = "CC BY 4.0 (UniProt)"
PDB = "Protein Data Bank chains, DSSP, through Debian promod3-data 3.2.1"
PDB_LICENCE = "CC0 (wwPDB)"

# Ten of the thirty molecular functions of the full set: frequent, no ancestors of one another, no commas.
GO_TERMS = {
    1: "metal_ion_binding",
    3: "transferase_activity",
    7: "hydrolase_activity",
    20: "ATP_binding",
    21: "protein_binding",
    22: "DNA_binding",
    23: "oxidoreductase_activity",
    24: "RNA_binding",
    27: "transporter_activity",
    28: "structural_molecule_activity",
}
LOCATIONS = {"cytosol", "extracellular", "mitochondrion", "nucleus", "plasma_membrane", "plastid"}

Row = dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """One demonstration set: which file, which rows, how the label is written."""

    name: str
    title: str
    task: str
    file: str
    max_length: int
    sizes: tuple[int, int, int]  # train, validation, test
    identifier: str
    label: Callable[[Row], str]
    source: str
    licence: str
    split_note: str
    skip: int = 0  # leave out so many rows of each split, taken by the set named before


def location(row: Row) -> str:
    return row["class_name"] if row["class_name"] in LOCATIONS else ""


def membrane(row: Row) -> str:
    return {"1": "membrane", "0": "soluble"}[row["label"]]


def go(row: Row) -> str:
    return ",".join(GO_TERMS[int(index)] for index in row["labels"].split() if int(index) in GO_TERMS)


CLUSTERED = "by 50 % identity cluster: no test sequence has a relative above it in train"
SETS = [
    Recipe(
        "demo-location", "Subcellular location, 6 compartments", "single_label_classification",
        "subcellular_location.csv.gz", 250, (800, 140, 200), "accession", location,
        UNIPROT, UNIPROT_LICENCE, CLUSTERED,
    ),
    Recipe(
        "demo-membrane", "Membrane-integral or not", "single_label_classification",
        "membrane_binary.csv.gz", 250, (700, 150, 200), "accession", membrane,
        UNIPROT, UNIPROT_LICENCE, CLUSTERED,
    ),
    Recipe(
        "demo-go", "Molecular function, 10 GO terms", "multi_label_classification",
        "go_mf_multilabel.csv.gz", 250, (800, 150, 200), "accession", go,
        UNIPROT + "; Gene Ontology annotation", "CC BY 4.0 (UniProt; Gene Ontology)", CLUSTERED,
    ),
    Recipe(
        "demo-gb1", "Binding of GB1 double mutants, log enrichment", "regression",
        "gb1_binding_doubles.csv.gz", 60, (1200, 200, 286), "mutant", lambda row: row["label"],
        "Olson, Wu, Sun 2014, Current Biology 24:2643, through PyPI mavenn 1.1.4",
        "MIT (mavenn); cite Olson 2014",
        "as in the source",
    ),
    Recipe(
        "demo-ss3", "Secondary structure, 3 states per residue", "residue_classification",
        "secondary_structure.csv.gz", 250, (400, 80, 120), "pdb_chain", lambda row: row["ss3"],
        PDB, PDB_LICENCE, CLUSTERED,
    ),
    Recipe(
        "demo-rsa", "Relative solvent accessibility per residue", "residue_regression",
        "secondary_structure.csv.gz", 250, (300, 60, 90), "pdb_chain", lambda row: row["rsa"],
        PDB, PDB_LICENCE, CLUSTERED, skip=1,
    ),
]  # fmt: skip


def candidates(recipe: Recipe, folder: Path) -> list[Row]:
    """Rows of the full file that are short enough and have a label."""
    with gzip.open(folder / recipe.file, "rt", newline="") as handle:
        rows = [
            {
                recipe.identifier: row[recipe.identifier],
                "sequence": row["sequence"],
                "label": recipe.label(row),
                "split": row["split"],
            }
            for row in csv.DictReader(handle)
            if len(row["sequence"]) <= recipe.max_length
        ]
    return [row for row in rows if row["label"]]


def sample(recipe: Recipe, rows: list[Row]) -> list[Row]:
    """The sampled rows in file order; a set with `skip` takes none that the set before it took."""
    chosen: list[int] = []
    for split, size in zip(("train", "valid", "test"), recipe.sizes, strict=True):
        indices = [index for index, row in enumerate(rows) if row["split"] == split]
        random.Random(f"{SEED}:{split}").shuffle(indices)
        start = SETS[[s.name for s in SETS].index(recipe.name) - 1].sizes if recipe.skip else (0, 0, 0)
        offset = start[("train", "valid", "test").index(split)]
        picked = indices[offset : offset + size]
        if len(picked) < size:
            raise SystemExit(f"{recipe.name}: only {len(picked)} {split} rows of {size}")
        chosen.extend(picked)
    return [rows[index] for index in sorted(chosen)]


def write(rows: list[Row], path: Path) -> None:
    """Write a gzipped CSV whose bytes depend on the rows only (no time stamp)."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


def main(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    index = []
    for recipe in SETS:
        rows = sample(recipe, candidates(recipe, folder))
        path = out / f"{recipe.name}.csv.gz"
        write(rows, path)
        residues = sum(len(row["sequence"]) for row in rows)
        index.append(
            {
                "name": recipe.name,
                "title": recipe.title,
                "task": recipe.task,
                "rows": len(rows),
                "splits": dict(zip(("train", "validation", "test"), recipe.sizes, strict=True)),
                "residues": residues,
                "max_length": recipe.max_length,
                "split": recipe.split_note,
                "licence": recipe.licence,
                "source": recipe.source,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
        print(f"{recipe.name:14} {len(rows):5} rows {residues:7} residues {path.stat().st_size:7} bytes")
    (out / "index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "src/profactory/data/bundled"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else default)
