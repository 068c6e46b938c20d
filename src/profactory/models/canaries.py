"""Eight sequences whose outputs a saved model carries, so that whoever loads it knows that it is the same.

A file can be complete and of the right shapes and still give other numbers: a changed weight, another
version of a library, a faulty processor. The outputs are computed again on loading and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.data.structure_strings import KINDS
from profactory.errors import ModelLoadError

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

#: Small, well-known proteins: trp-cage, insulin B chain, villin headpiece, crambin, GB1, BPTI, ubiquitin,
#: hen lysozyme.
SEQUENCES = (
    "NLYIQWLKDGGPSSGRPPPS",
    "FVNQHLCGSHLVEALYLVCGERGFFYTPKT",
    "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF",
    "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN",
    "MTYKLILNGKTLKGETTTEAVDAATAEKVFKQYANDNGVDGEWTYDDATKTFTVTE",
    "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA",
    "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG",
    "KVFGRCELAAAMKRHGLDNYRGYSLGNWVCAAKFESNFNTQATNRNTDGSTDYGILQINSRWWCNDGRTPGSRNLCNIPCSALLSSDITASVNCAKKIV"
    "SDGNGMNAWVAWRNRCKGTDVQAWIRGCRL",
)
#: Differences that other processors and library versions may make, in units of the outputs' spread.
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


@torch.inference_mode()
def canary_outputs(model: ProteinModel) -> NDArray[np.float32]:
    """Return a model's outputs on :data:`SEQUENCES`.

    Returns
    -------
    ndarray
        ``(8, n_outputs)`` logits or values; of residue tasks the mean over the residues.
    """
    mode = model.training
    model.eval()
    batch = model.collate(model.prepare(SEQUENCES, _strings(model))).to(model.backbone.device)
    outputs = model(**batch.arguments()).float()
    model.train(mode)
    if model.task.per_residue:
        inside = torch.arange(outputs.shape[1], device=outputs.device) < batch.lengths[:, None]
        outputs = (outputs * inside[:, :, None]).sum(1) / batch.lengths[:, None]  # (8, n_outputs)
    return np.asarray(outputs.cpu().numpy(), np.float32)


def _strings(model: ProteinModel) -> dict[str, list[str]]:
    """Return structure strings for models that read them: their alphabets over and over."""
    kinds = model.extra_inputs.structures
    return {kind: [KINDS[kind].example(len(s)) for s in SEQUENCES] for kind in kinds}


def describe_canaries(model: ProteinModel) -> dict[str, Any]:
    """Return what a saved model carries: sequences and outputs, ready for JSON."""
    outputs = [[float(str(value)) for value in row] for row in canary_outputs(model)]
    return {"sequences": list(SEQUENCES), "outputs": outputs}


def check_canaries(model: ProteinModel, stored: Mapping[str, Any], place: str) -> None:
    """Compare a loaded model's outputs with those that it was saved with.

    Parameters
    ----------
    model
        As loaded.
    stored
        What :func:`describe_canaries` gave.
    place
        The model's folder, for messages.

    Raises
    ------
    ModelLoadError
        If they differ, or are the same for all sequences.
    """
    if tuple(stored["sequences"]) != SEQUENCES:
        raise ValueError("the canary sequences are not those of this format")
    expected = np.asarray(stored["outputs"], np.float32)
    found = canary_outputs(model)
    if expected.shape != found.shape:
        raise ValueError(f"canary outputs of shape {expected.shape} instead of {found.shape}")
    # Equal rows of a matrix product may differ by rounding.
    rounding = 4 * np.finfo(np.float32).eps * np.abs(found).max(axis=0)
    if not np.isfinite(found).all() or (len(found) > 1 and (np.ptp(found, axis=0) <= rounding).all()):
        raise ModelLoadError(
            f"The model in {place} answers every sequence in the same way, or not with numbers.",
            expected="outputs that depend on the sequence",
            fix="train it again; profactory evaluate shows what it is worth",
        )
    dtype = next(model.backbone.network.parameters()).dtype
    scale = np.maximum(np.ptp(expected, axis=0), 1e-3 * np.abs(expected).max(axis=0)) + 1e-8
    difference = float((np.abs(found - expected) / scale).max())
    if not difference <= TOLERANCE.get(dtype, 0.1):
        raise ModelLoadError(
            f"The model in {place} does not answer as it did when it was saved: outputs differ by"
            f" {difference:.2g} of their spread.",
            expected=f"at most {TOLERANCE.get(dtype, 0.1):g} on its {len(SEQUENCES)} canary sequences",
            fix="copy or download it again; a file of it was changed",
        )
