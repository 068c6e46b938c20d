"""Embeddings as a picture: every sequence a point, alike ones near each other."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import MissingExtraError
from profactory.files import atomic_file

MAX_POINTS = 20_000  # more take long and show nothing more
MAX_CLASSES = 20

log = logging.getLogger("profactory")


def require_umap() -> None:
    """Refuse to go on without the package."""
    if importlib.util.find_spec("umap") is None:
        raise MissingExtraError("The plot (UMAP)", "embed")


def plot_embeddings(
    vectors: NDArray[np.float32], file: Path, labels: Sequence[str] | None = None, *, title: str = ""
) -> None:
    """Draw embeddings in two dimensions by UMAP (McInnes et al. 2018, https://arxiv.org/abs/1802.03426).

    Parameters
    ----------
    vectors
        ``(n, width)``; of more than 20,000 a sample is drawn, which is said.
    file
        Picture to write, PNG.
    labels
        One per vector: numbers become a scale of colours, up to 20 different words a colour each.
    title
        What the labels are.
    """
    from matplotlib.figure import Figure

    chosen = np.arange(len(vectors))
    if len(vectors) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(0).choice(len(vectors), MAX_POINTS, replace=False))
        log.info(
            "The plot shows %s of %s sequences, drawn at random.", f"{MAX_POINTS:,}", f"{len(vectors):,}"
        )
    places = _project(vectors[chosen])
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    _scatter(figure, axes, places, None if labels is None else [labels[int(i)] for i in chosen], title)
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    with atomic_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _project(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``(n, 2)``; too few points for neighbourhoods are shown by their principal components."""
    if len(vectors) < 5:
        centred = vectors - vectors.mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        flat = (left * sizes)[:, :2]
        return np.pad(flat, ((0, 0), (0, 2 - flat.shape[1]))).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import umap

        reducer = umap.UMAP(n_neighbors=min(15, len(vectors) - 1), random_state=0)
        return np.asarray(reducer.fit_transform(vectors), np.float32)


def _scatter(
    figure: Any, axes: Any, places: NDArray[np.float32], labels: Sequence[str] | None, title: str
) -> None:
    style = {"s": 8, "alpha": 0.7, "linewidths": 0}
    numbers = _numbers(labels)
    if labels is None:
        axes.scatter(*places.T, **style)
    elif numbers is not None:
        figure.colorbar(axes.scatter(*places.T, c=numbers, cmap="viridis", **style), label=title)
    else:
        words, counts = np.unique(np.array(labels, np.str_), return_counts=True)
        shown = words[np.argsort(-counts, kind="stable")][:MAX_CLASSES]
        for word in shown:
            axes.scatter(
                *places[np.array(labels) == word].T, label=str(word).replace("$", r"\$")[:40], **style
            )
        rest = ~np.isin(labels, shown)
        if rest.any():
            axes.scatter(*places[rest].T, color="lightgrey", label="others", **style)
        axes.legend(title=title, markerscale=2, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))


def _numbers(labels: Sequence[str] | None) -> NDArray[np.float64] | None:
    """Return labels as numbers if that is what they are and there are more than a few."""
    try:
        numbers = np.array([float(label) for label in labels or ()])
    except ValueError:
        return None
    return numbers if len(np.unique(numbers)) > MAX_CLASSES / 2 else None
