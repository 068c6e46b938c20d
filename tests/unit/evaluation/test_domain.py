"""How unlike the training data a sequence is: numbers by scipy and by hand, behaviour on real proteins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from profactory.data.composition import composition
from profactory.data.domain import UNLIKE, Domain, EmbeddingDomain
from profactory.data.prepare import prepare_dataset
from profactory.evaluation.domain import LEAST_DEVIATION, fit_domain

SETS = ("demo-membrane", "demo-location", "demo-go")


def _read(name: str) -> dict[str, list[str]]:
    data = prepare_dataset(f"bundled:{name}").dataset
    sequences = np.array(list(data.sequences), object)
    return {split: sequences[data.splits == split].tolist() for split in ("train", "validation", "test")}


@pytest.fixture(scope="module", params=SETS)
def proteins(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    return _read(request.param)


def _fit(train: list[str], held_out: list[str]) -> Domain:
    domain = fit_domain(train, held_out)
    assert domain is not None
    return domain


def test_the_rank_of_the_composition_is_that_of_scipys_distance() -> None:
    proteins = _read("demo-membrane")
    train, held_out = proteins["train"], proteins["validation"]
    shares = composition(train)
    scale = np.maximum(shares.std(axis=0), LEAST_DEVIATION)
    inverse = np.linalg.inv(LedoitWolf().fit((shares - shares.mean(axis=0)) / scale).covariance_)

    def distance(sequence: str) -> float:
        one = (composition([sequence])[0] - shares.mean(axis=0)) / scale
        return float(mahalanobis(one, np.zeros(20), inverse))

    others = np.array([distance(sequence) for sequence in held_out])
    middle = [text for text in proteins["test"] if 130 < len(text) < 185]
    nearer = np.array([(others < distance(sequence)).mean() for sequence in middle])
    found = np.sqrt(_fit(train, held_out).novelty(middle))
    decided = found > 0.4  # below, the length may decide
    assert decided.sum() > 10
    np.testing.assert_allclose(found[decided], nearer[decided], atol=1.5 / len(held_out))


def test_the_rank_of_the_length_by_hand() -> None:
    train = ["AC" * half for half in range(50, 151)]  # 100, 102, … 300 residues of one composition
    domain = _fit(train, train)
    # Of the lengths from 100 to 300, 69 % are below 250 / 1.05 and 19 % above 250 * 1.05.
    assert domain.novelty(["AC" * 125])[0] == pytest.approx((0.69 - 0.19) ** 2, abs=0.02)
    assert domain.novelty(["AC" * 100])[0] < 0.01
    # Up to 5 % beyond either end some training sequences are as long; then none.
    assert (domain.novelty(["AC" * half for half in (48, 157)]) < 1).all()
    assert domain.novelty(["AC" * half for half in (10, 47, 158, 1500)]).tolist() == [1, 1, 1, 1]


def test_test_sequences_of_the_same_source_are_evenly_spread(proteins: dict[str, list[str]]) -> None:
    found = _fit(proteins["train"], proteins["validation"]).novelty(proteins["test"])
    assert stats.kstest(found, "uniform").statistic < 0.15
    assert (found > UNLIKE).mean() < 0.05


def test_much_longer_sequences_are_unlike(proteins: dict[str, list[str]]) -> None:
    domain = _fit(proteins["train"], proteins["validation"])
    assert (domain.novelty([sequence * 10 for sequence in proteins["test"]]) > UNLIKE).all()


@pytest.mark.parametrize("unit", ["Q", "QP", "GS", "X", "K", "AAC"])
def test_low_complexity_is_unlike(proteins: dict[str, list[str]], unit: str) -> None:
    domain = _fit(proteins["train"], proteins["validation"])
    assert domain.novelty([(unit * 150)[:150]])[0] > UNLIKE


def test_variants_of_one_protein_are_alike_and_other_proteins_are_not() -> None:
    parts = _read("demo-gb1")
    domain = _fit(parts["train"], parts["validation"])
    assert (domain.novelty(parts["test"]) > UNLIKE).mean() < 0.1
    assert (domain.novelty(_read("demo-location")["test"]) > UNLIKE).all()


def test_a_sequence_has_the_same_novelty_alone_and_among_others(proteins: dict[str, list[str]]) -> None:
    domain = _fit(proteins["train"], proteins["validation"])
    alone = [domain.novelty([sequence])[0] for sequence in proteins["test"]]
    assert domain.novelty(proteins["test"]).tolist() == alone


def test_few_sequences_say_nothing() -> None:
    assert fit_domain(["ACD"] * 19, ["ACD"] * 20) is None
    assert fit_domain(["ACD"] * 20, ["ACD"] * 19) is None
    assert _fit(["ACD"] * 20, ["ACD"] * 20).novelty([]).shape == (0,)


def _vectors(count: int, seed: int, width: int = 12) -> np.ndarray:
    """Return embeddings that vary along three directions, and a little along all others."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).normal(size=(3, width))
    return 2 + rng.normal(size=(count, 3)) * [3, 2, 1] @ directions + 0.1 * rng.normal(size=(count, width))


def _embedded(train: np.ndarray, held_out: np.ndarray) -> EmbeddingDomain:
    domain = fit_domain(["ACD"] * 20, ["ACD"] * 20, (train, held_out))
    assert domain is not None
    assert domain.embedding is not None
    return domain.embedding


def test_the_distance_of_an_embedding_is_that_of_a_covariance_of_probabilistic_pca() -> None:
    train = _vectors(200, 1)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    least = 0.01 * np.median(np.sqrt((train**2).mean(axis=0)))
    scale = np.sqrt(deviation**2 + least**2)
    blur = np.mean(least**2 / scale**2)
    scaled = PCA(11).fit((train - mean) / scale)
    inverse = np.linalg.inv(scaled.get_covariance() + blur * np.eye(12))
    others = _vectors(30, 2)
    expected = [mahalanobis(row, np.zeros(12), inverse) for row in (others - mean) / scale]
    np.testing.assert_allclose(_embedded(train, others).distance(others), expected, rtol=1e-3)


def test_a_distance_by_hand() -> None:
    axes = np.zeros((64, 3), np.float32)
    axes[0] = [1, 0, 0]
    domain = EmbeddingDomain(
        *(np.array([1.0, 0, 0]), np.array([2.0, 1, 1]), axes, np.full(64, 0.25), np.array([4.0])),
        distances=np.linspace(0, 10, 1001),
    )
    # (5 - 1) / 2 = 2 along the axis with variance 4; 3 and 4 away in the other directions with variance 1/4.
    assert domain.distance(np.array([[5.0, 3, 4], [1, 0, 0]])).tolist() == [(4 / 4 + 25 * 4) ** 0.5, 0]


def test_held_out_embeddings_are_evenly_spread_and_others_are_unlike() -> None:
    domain = _embedded(_vectors(300, 1), _vectors(300, 2))
    ranks = np.searchsorted(domain.distances, domain.distance(_vectors(300, 3))) / 1001
    assert stats.kstest(ranks, "uniform").statistic < 0.1
    strange = _vectors(50, 4) + np.where(np.arange(12) == 5, 3.0, 0.0)  # off the plane, well within the range
    assert (domain.distance(strange) > domain.distances[-1]).all()


def test_rounding_in_few_bits_is_no_novelty() -> None:
    """Embeddings of the variants of one protein hardly differ; half precision must not make them strange."""
    train, held_out, more = (5 + 0.001 * _vectors(200, seed) for seed in (1, 2, 3))
    domain = _embedded(train, held_out)
    rounded = more.astype(np.float16).astype(np.float64)
    assert np.abs(rounded - more).max() > 0.001
    assert (domain.distance(rounded) <= domain.distances[-1]).mean() > 0.95


@pytest.mark.parametrize(("count", "width"), [(20, 4), (20, 200), (150, 3)])
def test_any_number_of_embeddings_of_any_width(count: int, width: int) -> None:
    domain = _embedded(_vectors(count, 1, width), _vectors(count, 2, width))
    assert {name: getattr(domain, name).shape for name in domain.shapes(width)} == domain.shapes(width)
    assert np.isfinite(domain.distance(_vectors(5, 3, width))).all()


def test_constant_embeddings_say_nothing_unless_others_differ() -> None:
    domain = _embedded(np.zeros((20, 4)), np.zeros((20, 4)))
    assert domain.distance(np.zeros((1, 4))).tolist() == [0]
    assert domain.distance(np.ones((1, 4)))[0] > domain.distances[-1]


def test_the_largest_part_decides_and_each_is_named() -> None:
    train = ["ACDEFGHIKL" * 10 + "A" * (i % 20) + "C" * (i % 7) for i in range(100)]
    domain = fit_domain(train, train, (_vectors(100, 1), _vectors(100, 2)))
    assert domain is not None
    assert domain.embedding is not None
    sequences, distances = [train[50], train[50], "Q" * 300], np.array([0.0, 1e6, 1e6])
    parts = domain.parts(sequences, distances)
    assert {name: (values > UNLIKE).tolist() for name, values in parts.items()} == {
        "length": [False, False, True],
        "composition": [False, False, True],
        "embedding": [False, True, True],
    }
    assert domain.novelty(sequences, distances).tolist() == np.max(list(parts.values()), axis=0).tolist()
    without = domain.parts(sequences)  # two parts: the square instead of the cube
    np.testing.assert_allclose(without["length"] ** 1.5, parts["length"])
