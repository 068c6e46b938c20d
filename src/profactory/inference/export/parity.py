"""Whether an exported model answers as the original does, over lengths and batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from profactory.data.structure_strings import KINDS
from profactory.errors import ExportError

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch
    from profactory.models.protein_model import ProteinModel

#: Largest difference of a probability, or of a value in units of the labels' spread.
TOLERANCE = 1e-4
BATCH_SIZES = (1, 2, 5, 16)
LONGEST_IN_BATCH = 128  # residues in the larger batches; lengths up to the model's limit are run alone

Outputs = NDArray[np.float32]
Run = Callable[["TokenBatch"], Outputs]


def cases(model: ProteinModel) -> Iterator[TokenBatch]:
    """Yield batches: every length of a ladder from 1 to the model's limit alone, then 1 to 16 sequences."""
    rng = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWYXBZUO"))

    def sequence(length: int) -> str:
        return "".join(rng.choice(letters, length))

    ladder = {1, 2, 3, model.max_length}
    ladder |= {int(x) for x in np.geomspace(4, model.max_length, 8)} if model.max_length > 4 else set()
    groups = [[sequence(length)] for length in sorted(ladder) if length <= model.max_length]
    longest = min(model.max_length, LONGEST_IN_BATCH)
    groups += [[sequence(int(n)) for n in rng.integers(1, longest + 1, size)] for size in BATCH_SIZES]
    for group in groups:
        strings = {
            kind: ["".join(rng.choice(list(KINDS[kind].letters), len(text))) for text in group]
            for kind in model.extra_inputs.structures
        }
        yield model.collate(model.prepare(group, strings))


def largest_difference(model: ProteinModel, original: Run, exported: Run) -> float:
    """Return the largest difference between two ways of running a model.

    Parameters
    ----------
    model
        Whose inputs and units they share.
    original, exported
        From a batch to outputs; padding does not count.
    """
    largest = 0.0
    for batch in cases(model):
        difference = differences(model, exported(batch), original(batch))
        if model.task.per_residue:
            inside = np.arange(difference.shape[1]) < batch.lengths.numpy()[:, None]
            difference = difference[inside]
        largest = max(largest, float(difference.max()))
    return largest


def differences(model: ProteinModel, found: Outputs, wanted: Outputs) -> Outputs:
    """Return how far answers are apart: probabilities, or values in units of the labels' spread.

    Labels that were transformed for training have that unit where the loss sees them.
    """
    if model.task.is_classification:
        return np.asarray(np.abs(found - wanted), np.float32)
    if model.task.transform is not None:
        found, wanted = model.task.transform.apply(found), model.task.transform.apply(wanted)
    return np.asarray(np.abs(found - wanted) / model.output_scale.cpu().numpy(), np.float32)


def check_parity(difference: float, what: str, tolerance: float = TOLERANCE) -> None:
    """Refuse a difference beyond the tolerance.

    Raises
    ------
    ExportError
        Naming both.
    """
    if not difference <= tolerance:
        raise ExportError(
            f"{what} does not answer as the model: outputs differ by up to {difference:.2g}.",
            expected=f"at most {tolerance:g} (probability, or units of the labels' spread)",
            fix="please report this with the model's name; --format merged and zip are not affected",
        )
