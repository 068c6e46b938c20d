"""The embeddings that a trained model's head reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from profactory.data.structure_strings import Strings
from profactory.inference.predictor import Predictor, Row
from profactory.models.extra_inputs import Sample


class EmbeddingPredictor(Predictor):
    """A trained model that gives embeddings instead of outputs; parameters as of :class:`Predictor`."""

    def embeddings(self, sequences: Sequence[str], strings: Strings) -> NDArray[np.float32]:
        """Return ``(n, width)`` for clean sequences; what is longer than the model reads is cut.

        See :meth:`profactory.models.protein_model.ProteinModel.forward_embedded`.
        """
        return np.stack(self._run_all(sequences, strings, None))

    def _run(self, samples: list[Sample]) -> list[Row]:
        return list(self.engine.run_embedded(self.model.collate(samples))[1])
