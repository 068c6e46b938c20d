"""How unlike the training data a sequence is: numbers by scipy and by hand, behaviour on real proteins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from profactory.data.composition import composition
from profactory.data.domain import UNLIKE, Domain
from profactory.data.prepare import prepare_dataset
from profactory.evaluation.domain import LEAST_DEVIATION, fit_domain

SETS = ("demo-membrane", "demo-location", "demo-go")


def _read(name: str) -> dict[str, list[str]]:
    data = prepare_dataset(f"bundled:{name}").dataset
    sequences = np.array(data.sequences.to_pylist(), object)
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
