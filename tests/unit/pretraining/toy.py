"""A corpus of random records whose labels can be read off the sequence."""

from __future__ import annotations

import numpy as np

from profactory.pretraining.corpus import FIRST_STANDARD, LAST_STANDARD, NO_LABEL, Corpus


def toy_corpus(records: int = 60, labelled: int = 20, seed: int = 0) -> Corpus:
    """Records 20-199 residues long; ss8 is token % 8, accessibility token % 10, the term length % 5."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(20, 200, size=records)
    tokens = rng.integers(FIRST_STANDARD, LAST_STANDARD + 1, size=int(lengths.sum())).astype(np.uint8)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    known = np.repeat(np.arange(records) >= records - labelled, lengths)
    annotated = np.arange(records) % 3 > 0
    annotated[records - labelled :] = False
    return Corpus(
        tokens=tokens,
        offsets=offsets,
        lines=np.arange(records) * 2 + 1,
        ss8=np.where(known, tokens % 8, NO_LABEL).astype(np.uint8),
        accessibility=np.where(known, tokens % 10, NO_LABEL).astype(np.uint8),
        terms=(lengths[annotated] % 5).astype(np.int32),
        term_offsets=np.concatenate([[0], np.cumsum(annotated)]),
        annotated=annotated,
        num_terms=5,
    )
