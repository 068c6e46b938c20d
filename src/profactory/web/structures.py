"""What the page shows of a structure: its chains, their strings, and the chain in three dimensions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from profactory.data.structure_strings import KINDS
from profactory.data.writing import open_writer
from profactory.errors import DataError
from profactory.files import read_json
from profactory.structure.viewing import CHAINS
from profactory.web import markup
from profactory.web.commands import ask, ask_module
from profactory.web.residues import (
    BLOCK,
    STATES,
    Colouring,
    by_class,
    by_confidence,
    by_number,
    by_prediction,
)
from profactory.web.words import Words
from profactory.web.workspace import Workspace

Row = Mapping[str, Any]
#: Chains that are drawn in grey beside the one that is looked at.
MOST_OTHERS = 20
STRINGS = ("sequence", "foldseek_3di", "ss8", "ss3")
#: Strings that some models read beside the sequence.
_READ = [kind.columns[0] for kind in KINDS.values() if kind.letters]
#: Draws what the HTML says when it comes and whenever it changes.
DRAW = """
const draw = () => window.profactory.view(element);
watch('value', draw);
draw();
"""


def prepare(workspace: Workspace, source: str) -> str:
    """Read a structure in a process of its own; return the name of the folder with what is shown of it.

    Raises
    ------
    ProFactoryError
        The page may not read it, or it is no structure.
    """
    place, folder = workspace.check_structure(source), workspace.new_view()
    ask_module("profactory.structure.viewing", [place, str(folder)])
    return folder.name


def chains_of(workspace: Workspace, view: str | None) -> list[Row]:
    """Return the chains of a structure that was prepared; none if there is no such structure."""
    folder = workspace.find_view(view or "")
    return read_json(folder / CHAINS) if folder else []


def find_chain(rows: Sequence[Row], name: str | None) -> Row | None:
    """Return the chain of that name, else the first; None if there are none."""
    return next((row for row in rows if row["chain"] == name), rows[0] if rows else None)


def chain_table(rows: Sequence[Row], words: Words) -> str:
    """Lay out the chains: how long they are and what to know before trusting them."""
    keys = ("chain", "residues", "helix", "strand", "plddt", "breaks", "missing", "modified")
    head = [words(f"structures.column_{key}") for key in keys]
    return markup.table(head, [_line(row) for row in rows], numbers=range(1, 7))


def _line(row: Row) -> list[object]:
    length = len(row["sequence"])
    helix, strand = (f"{row['ss3'].count(letter) / length:.0%}" for letter in "HE")
    trust = [row["mean_plddt"], row["breaks"], row["missing_residues"], row["modified_residues"] or "–"]
    return [row["chain"], length, helix, strand, *trust]


def strings_of(row: Row, words: Words) -> str:
    """Show the strings of a chain below each other, in blocks of ten residues."""
    lines = [str(row[name]) for name in STRINGS]
    names = "\n".join(words(f"structures.string_{name}") for name in STRINGS)
    blocks = [f'<pre class="pf-names"><small>&nbsp;</small>{markup.safe(names)}</pre>']
    for start in range(0, len(lines[0]), BLOCK):
        shown = "\n".join(line[start : start + BLOCK] for line in lines)
        blocks.append(f"<pre><small>{start + 1}</small>{markup.safe(shown)}</pre>")
    return f'<div class="pf-strings">{"".join(blocks)}</div>'


def colourings_of(row: Row) -> list[str]:
    """Return what a chain can be coloured by, beside predictions."""
    return ["ss3", *(name for name in ("plddt", "rsa") if row[name])]


def colour_chain(row: Row, by: str, words: Words, prediction: str = "") -> Colouring:
    """Colour the residues of a chain.

    Parameters
    ----------
    row
        The chain.
    by
        ``ss3``, ``plddt``, ``rsa`` or ``prediction``; ``ss3`` where that is not known.
    words
        Texts of the legend.
    prediction
        One letter or one item per residue.
    """
    if by == "prediction" and prediction:
        return by_prediction(prediction, len(row["sequence"]), words)
    if by == "plddt" and row["plddt"]:
        return by_confidence(row["plddt"].split(","))
    if by == "rsa" and row["rsa"]:
        return by_number(row["rsa"].split(","), words)
    names = {state: words(f"structures.state_{state}") for state in STATES}
    return by_class(list(row["ss3"]), STATES, names)


def viewer(rows: Sequence[Row], row: Row, view: str, colouring: Colouring, words: Words) -> str:
    """Return the place where the browser draws a chain, with all that it needs to know."""
    if not row["view"]:
        return markup.note(words("structures.too_long"), kind="warn")
    others = [r["view"] for r in rows if r["view"] and r is not row][:MOST_OTHERS]
    about = {
        "file": f"../structures/{view}/{row['view']}",
        "others": " ".join(f"../structures/{view}/{name}" for name in others),
        "colours": ",".join(colouring.colours),
        "marks": json.dumps(list(colouring.marks)),
        "states": row["ss3"],
        "missing": words("structures.not_drawn"),
    }
    data = " ".join(f'data-{name}="{markup.safe(value)}"' for name, value in about.items())
    label = markup.safe(words("structures.picture", chain=row["chain"]))
    reset = (
        f'<button type="button" class="pf-reset" data-reset>{markup.safe(words("structures.reset"))}</button>'
    )
    return f'<div class="pf-viewer" role="img" aria-label="{label}" {data}>{reset}</div>'


def predict_chain(workspace: Workspace, model: str, view: str, row: Row) -> dict[str, Any]:
    """Let a model predict a chain, with the strings of its structure where it reads them.

    Returns
    -------
    dict
        As ``profactory predict --sequence … --json`` prints it.

    Raises
    ------
    ProFactoryError
        In the words of the command, or why there is no prediction.
    """
    folder = workspace.find_view(view)
    if folder is None:
        raise DataError("No structure was chosen.", fix="choose a PDB or mmCIF file, or upload one")
    name = secrets.token_hex(4)
    source, out = folder / f"{name}.csv", folder / f"{name}.jsonl"
    columns = ["id", "sequence", *_READ]
    with open_writer(source, columns) as writer:
        writer.write({column: [row[column]] for column in columns})
    try:
        ask("predict", [model, str(source), f"--out={out}", "--long=windows"])
        return _record(out)
    finally:
        for file in (source, out):
            file.unlink(missing_ok=True)


def _record(out: Path) -> dict[str, Any]:
    (record,) = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines() if line]
    if record.get("error"):
        raise DataError(f"There is no prediction: {record['error']}")
    given = ("id", "sequence", *_READ)
    return {name: value for name, value in record.items() if name not in given and value not in (None, "")}
