"""What more sequences and longer ones cost: residues per second and memory of `profactory predict`.

usage: python benchmarks/growth.py [--minutes 2] [--repeats 1] [--cases …] [--out FILE]

Number: a file of proteins of 60 residues is predicted with the bundled model (embedded and its head); the
memory should not grow with the rows. Length: sequences of one length, with random weights of ESM-2's 8M
shape; up to 1,022 residues the cost should follow the residues, beyond that attention shows. (Such models
read 1,022; 2,048 is computed all the same, to see the growth.) Growth with the size of the model is in
`inference.py`. The cases of 100,000 sequences and more are left out of `make bench`.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import material
import measuring

RESIDUES = 8192
LENGTHS = (64, 128, 256, 512, 1022, 2048)
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
QUICK = [*(f"{n} residues" for n in LENGTHS), *(f"{n} sequences" for n in COUNTS[:2])]
CASES: dict[str, dict[str, Any]] = {
    **{f"{n} residues": {"length": n, "contenders": ["length"]} for n in LENGTHS},
    **{f"{n} sequences": {"count": n, "contenders": ["number"]} for n in COUNTS},
}


def length(case: Mapping[str, Any]) -> dict[str, Any]:
    """Embed sequences of one length."""
    from profactory.models.backbone import Backbone
    from profactory.models.protein_model import Design, ProteinModel
    from profactory.models.zoo import resolve
    from profactory.tasks import Task, TaskKind
    from profactory.training.loss_model import FrozenEncoder

    backbone = Backbone.load(resolve(str(material.esm2("tiny" if case["small"] else "8M"))))
    design = Design(method="freeze", pooling="mean", max_length=case["length"])
    model = ProteinModel.assemble(backbone, Task(TaskKind.REGRESSION), design)
    count = max(1, (case["length"] if case["small"] else RESIDUES) // case["length"])
    FrozenEncoder(model).encode(same_length(count, case["length"]))
    return {"residues": count * case["length"]}


def number(case: Mapping[str, Any]) -> dict[str, Any]:
    """Predict a file of sequences."""
    from starting import trained

    from profactory import api

    count = 200 if case["small"] else case["count"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "new.csv"
        with file.open("w", encoding="ascii") as handle:
            handle.write("id,sequence\n")
            handle.writelines(f"p{i},{one}\n" for i, one in enumerate(same_length(count, 60)))
        api.predict(trained(), file, out=Path(folder) / "out.csv")
    return {"residues": 60 * count}


def same_length(count: int, residues: int) -> list[str]:
    """Return distinct random proteins of one length."""
    rng = random.Random(residues)
    return ["".join(rng.choices(material.LETTERS, k=residues)) for _ in range(count)]


CONTENDERS = {"length": length, "number": number}

if __name__ == "__main__":
    measuring.run(CONTENDERS, CASES, reference="")
