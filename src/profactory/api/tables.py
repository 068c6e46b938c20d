"""Tables of proteins, and what coordinates say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.config import TrainConfig

if TYPE_CHECKING:
    from profactory.data.checking import DataReport
    from profactory.pipeline.recommending import Recommendation
    from profactory.structure.extraction import StructureReport


def check(data: str | Path, **options: Any) -> DataReport:
    """Report on a table without training; see :func:`profactory.pipeline.check.check_data`.

    Settings of training among the options, such as ``task`` and ``method``, are texts or values, as for
    :func:`profactory.train`.
    """
    from profactory.pipeline.check import check_data

    return check_data(data, **TrainConfig.read(options))


def recommend(data: str | Path | None = None, **options: Any) -> Recommendation:
    """Recommend a pre-trained model; see :func:`profactory.pipeline.recommending.recommend`."""
    from profactory.pipeline.recommending import recommend

    return recommend(data, **TrainConfig.read(options))


def extract_structures(
    sources: str | Path | Sequence[str | Path], out: str | Path, **options: Any
) -> StructureReport:
    """Write a table of what coordinates say of every chain.

    Parameters
    ----------
    sources
        PDB, mmCIF and BinaryCIF files, and folders of them.
    out, **options
        See :func:`profactory.structure.extraction.extract_structures`.
    """
    from profactory.structure import extraction

    paths = [sources] if isinstance(sources, str | Path) else list(sources)
    return extraction.extract_structures(paths, out, **options)
