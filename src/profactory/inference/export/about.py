"""What an exported model says of itself, and the files that let a stranger use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from profactory.data.structure_strings import KINDS, PADDING, UNKNOWN, encode_structure
from profactory.models.descriptors import describe as describe_numbers
from profactory.models.extra_inputs import DESCRIPTORS
from profactory.models.saving import VERSION
from profactory.tasks import Calibration, Task

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

FORMAT = 1
PREPROCESSING = (
    "upper case; remove white space and one * at the end; keep the first max_length residues; ids are"
    " tokens.before, the id of each letter in tokens.letters, tokens.after; pad on the right with tokens.pad;"
    " attention_mask is 1 for ids and 0 for padding; lengths counts residues"
)

EXAMPLE = '''"""Predict with {packages} alone: python predict.py {usage}"""

import json
import pathlib
import sys
import numpy as np
import onnxruntime{imports}

session = onnxruntime.InferenceSession(pathlib.Path(__file__).with_name("{file}"))
about = json.loads(session.get_modelmeta().custom_metadata_map["profactory"])
tokens, classes = about["tokens"], about["task"]["classes"]
texts = ["".join(text.upper().split()).removesuffix("*")[: about["max_length"]] for text in {given}]
{ids}
mask = np.arange(max(map(len, ids))) < np.array([[len(row)] for row in ids])
padded = np.full(mask.shape, tokens["pad"])
padded[mask] = np.concatenate(ids)
inputs = {{"input_ids": padded, "attention_mask": mask.astype(int), "lengths": np.array([*map(len, texts)])}}
{extras}for text, output in zip(texts, session.run(None, inputs)[0]):
    rows = (output[: len(text)] if about["per_residue"] else output[None]).astype(float).round(4)
    print(text, *[dict(zip(classes, row)) if classes else row for row in rows.tolist()])
'''

_TABLE = 'ids = [tokens["before"] + [tokens["letters"][c] for c in text] + tokens["after"] for text in texts]'
_READER = """reader = tokenizers.Tokenizer.from_file(str(pathlib.Path(__file__).with_name("tokenizer.json")))
ids = [reader.encode(text).ids for text in texts]"""
#: Where the model reads more than the sequence, each is followed by the other inputs.
_EXTRAS = """for place, (name, extra) in enumerate(about["extra_inputs"].items(), 2):
    given = sys.argv[place :: 1 + len(about["extra_inputs"])]
    if "codes" in extra:  # a letter for each residue
        rows = [[extra["codes"].get(c, extra["unknown"]) for c in text.upper()] for text in given]
        inputs[name] = np.full((len(texts), max(map(len, texts))), extra["padding"])
        for filled, row, text in zip(inputs[name], rows, texts):
            filled[: len(text)] = row[: len(text)]
    else:  # numbers with commas between them
        inputs[name] = np.array([[float(x) for x in text.split(",")] for text in given], np.float32)
"""


def example(model: ProteinModel, file: str) -> str:
    """Return a script that predicts with an exported ONNX file and as few packages as can be."""
    extras = describe_extras(model)
    beside = " ".join(
        "NUMBER,NUMBER,..." if "numbers" in one else name.upper() for name, one in extras.items()
    )
    plain = model.backbone.token_table() is not None
    return EXAMPLE.format(
        file=file,
        packages="onnxruntime and numpy" if plain else "onnxruntime, numpy and tokenizers",
        usage=f"SEQUENCE {beside} SEQUENCE {beside}" if extras else "MKTAYIAK MKWVTFISLL",
        imports="" if plain else "\nimport tokenizers",
        given=f"sys.argv[1::{1 + len(extras)}]" if extras else "sys.argv[1:]",
        ids=_TABLE if plain else _READER,
        extras=_EXTRAS if extras else "",
    )


def describe_extras(model: ProteinModel) -> dict[str, dict[str, Any]]:
    """Return what the graph reads beside the tokens, by the names of its inputs; ready for JSON."""
    found: dict[str, dict[str, Any]] = {}
    for kind in () if model.extra_inputs.in_tokens else model.extra_inputs.structures:
        letters = {letter: int(encode_structure(kind, letter)[0]) for letter in _letters(kind)}
        about = f"int64 (batch, residues): the code of each letter of the {KINDS[kind].title}"
        found[kind] = {"what": about, "codes": letters, "unknown": UNKNOWN, "padding": PADDING}
    if model.extra_inputs.descriptors:
        count = describe_numbers(["ACD"], model.extra_inputs.descriptors).shape[1]
        about = (
            "float32 (batch, numbers): profactory.models.descriptors.describe(sequences, features), made by"
            " the package peptides from the residues that are read"
        )
        found[DESCRIPTORS] = {
            "what": about,
            "numbers": count,
            "features": list(model.extra_inputs.descriptors),
        }
    return found


def _letters(kind: str) -> str:
    return KINDS[kind].letters + "".join(KINDS[kind].same)


def describe(
    model: ProteinModel,
    provenance: Mapping[str, Any],
    *,
    task: Task,
    calibration: Calibration,
    members: int = 1,
) -> dict[str, Any]:
    """Return the metadata of an exported model, ready for JSON.

    Parameters
    ----------
    model
        What is exported; the first of an ensemble.
    provenance
        Where it comes from.
    task, calibration, members
        Of what is exported: those of `model`, or of the ensemble of so many.
    """
    backbone = model.backbone
    return {
        "format": FORMAT,
        "profactory": VERSION,
        "task": task.to_dict(),
        "per_residue": task.per_residue,
        "outputs": "calibrated probabilities" if task.is_classification else "values",
        "models": members,
        "calibration": calibration.to_dict(),
        "max_length": model.max_length,
        "tokens": backbone.token_table() or {"pad": backbone.pad_id},
        "extra_inputs": describe_extras(model),
        "preprocessing": PREPROCESSING,
        "backbone": {
            "name": backbone.spec.name,
            "family": backbone.family.name,
            "revision": backbone.spec.revision,
            "licence": backbone.spec.licence,
        },
        "provenance": dict(provenance),
    }
