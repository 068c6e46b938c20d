"""Columns as texts that are read when they are asked for."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from profactory.data import texts as module
from profactory.data.prepare import prepare_dataset
from profactory.data.texts import Texts
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind, Values
from profactory.training.embedding_cache import _lay_out
from profactory.training.loss_model import FrozenEncoder
from profactory.training.sources import SequenceSource
from tests.support.models import tiny_esm

COLUMN = pa.chunked_array([["a", "b"], [], ["c"], ["d", "e", "f"]], pa.large_string())
LETTERS = list("abcdef")


@pytest.mark.parametrize("rows", [None, [5, 0, 0, 3, 2], [0, 2, 2, 5], []])
def test_they_are_what_a_list_would_be(rows: list[int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 2)
    found = Texts(COLUMN, None if rows is None else np.array(rows, np.int64))
    wanted = LETTERS if rows is None else [LETTERS[row] for row in rows]
    assert (len(found), list(found), bool(found)) == (len(wanted), wanted, bool(wanted))
    assert [found[i] for i in range(-len(wanted), len(wanted))] == wanted + wanted
    for part in (slice(1, 4), slice(None, None, -1), slice(3, None), slice(9, 12)):
        assert list(found[part]) == wanted[part]
        assert list(found[part][1:]) == wanted[part][1:]
    for outside in (len(wanted), -len(wanted) - 1):
        with pytest.raises(IndexError):
            found[outside]


def test_training_does_not_hold_its_sequences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence as a text takes 350 bytes here; places, lengths and hashes less than 100."""
    monkeypatch.setattr(module, "BLOCK", 500)
    count, pool = 20_000, "".join(np.random.default_rng(0).choice(list("ACDEFGHIKLMNPQRSTVWY"), 50_000))
    table = tmp_path / "data.csv"
    lines = (f"{pool[i : i + 300]},{i % 2}\n" for i in range(count))
    table.write_text("sequence,label\n" + "".join(lines))
    sequences = prepare_dataset(table).dataset.sequences
    task = Task(TaskKind.SINGLE_LABEL, ("0", "1"))
    model = ProteinModel.build(resolve(str(tiny_esm(tmp_path / "tiny"))), task, method="freeze")
    encoder, labels = FrozenEncoder(model), Values(np.arange(count) % 2)
    tracemalloc.start()
    try:
        held = [_lay_out(encoder, sequences)]
        of_layout = tracemalloc.get_traced_memory()[1]
        del held[:]
        tracemalloc.reset_peak()
        source = SequenceSource(model.backbone, sequences, task.kind, labels, max_length=300, tokens=4096)
        source.load(source.plan(0)[0])
        of_source = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert of_layout < 100 * count
    assert of_source < 100 * count
