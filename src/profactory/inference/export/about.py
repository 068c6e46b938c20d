"""What an exported model says of itself, and the files that let a stranger use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from profactory.models.saving import VERSION

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

FORMAT = 1
PREPROCESSING = (
    "upper case; remove white space and one * at the end; keep the first max_length residues; ids are"
    " tokens.before, the id of each letter in tokens.letters, tokens.after; pad on the right with tokens.pad;"
    " attention_mask is 1 for ids and 0 for padding; lengths counts residues"
)

EXAMPLE = '''"""Predict with {packages} alone: python predict.py MKTAYIAK MKWVTFISLL"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
{imports}
session = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("{file}"))
about = json.loads(session.get_modelmeta().custom_metadata_map["profactory"])
tokens, classes, cut = about["tokens"], about["task"]["classes"], about["max_length"]
sequences = [text.upper()[:cut] for text in sys.argv[1:]]
{ids}
width = max(map(len, ids))
inputs = {{
    "input_ids": np.array([row + [tokens["pad"]] * (width - len(row)) for row in ids], np.int64),
    "attention_mask": np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids], np.int64),
    "lengths": np.array([len(text) for text in sequences], np.int64),
}}
for text, output in zip(sequences, session.run(None, inputs)[0]):
    rows = (output[: len(text)] if about["per_residue"] else output[None]).astype(float).round(4)
    print(text, *[dict(zip(classes, row)) if classes else row for row in rows.tolist()])
'''

_TABLE = (
    'ids = [tokens["before"] + [tokens["letters"][c] for c in text] + tokens["after"] for text in sequences]'
)
_READER = """reader = tokenizers.Tokenizer.from_file(str(pathlib.Path(__file__).with_name("tokenizer.json")))
ids = [reader.encode(text).ids for text in sequences]"""


def example(model: ProteinModel, file: str) -> str:
    """Return a script that predicts with an exported ONNX file and as few packages as can be."""
    if model.backbone.token_table() is not None:
        return EXAMPLE.format(file=file, packages="onnxruntime and numpy", imports="", ids=_TABLE)
    packages = "onnxruntime, numpy and tokenizers"
    return EXAMPLE.format(file=file, packages=packages, imports="import tokenizers\n", ids=_READER)


def describe(model: ProteinModel, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an exported model, ready for JSON.

    Parameters
    ----------
    model
        What is exported.
    provenance
        Where it comes from.
    """
    backbone = model.backbone
    return {
        "format": FORMAT,
        "profactory": VERSION,
        "task": model.task.to_dict(),
        "per_residue": model.task.per_residue,
        "outputs": "calibrated probabilities" if model.task.is_classification else "values",
        "calibration": model.calibration.to_dict(),
        "max_length": model.max_length,
        "tokens": backbone.token_table() or {"pad": backbone.pad_id},
        "preprocessing": PREPROCESSING,
        "backbone": {
            "name": backbone.spec.name,
            "family": backbone.family.name,
            "revision": backbone.spec.revision,
            "licence": backbone.spec.licence,
        },
        "provenance": dict(provenance),
    }
