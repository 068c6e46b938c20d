"""Reading sequences and labels into a corpus."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from profactory.errors import ColumnError, ReadError, RowError
from profactory.pretraining.corpus import (
    NO_LABEL,
    SS8_STATES,
    UNK,
    VOCABULARY,
    Corpus,
    encode,
)
from profactory.pretraining.reading import CorpusReport, build_corpus, open_corpus

_ALL = "LAGVSERTIDPKQNFYMHWC"


def _write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def built(tmp_path: Path) -> tuple[Corpus, CorpusReport]:
    fasta = _write(
        tmp_path / "a.fasta.gz",
        f">one first protein\n{_ALL}\nMKV\n>short\nMKT\n>two\n{_ALL.lower()}*\n>bad\n{_ALL}1\n>x\n{_ALL}X\n",
    )
    terms = _write(tmp_path / "go.tsv", "id\tterm_indices\ntwo\t0 3\nnobody\t1\n")
    chains = _write(
        tmp_path / "chains.tsv",
        "pdb_chain\tsequence\tss8\trsa_decile\n"
        f"1ABC_A\t{_ALL}\tHBEGITSC{'C' * 12}\t{'0123456789' * 2}\n"
        f"1ABC_B\t{_ALL}\tHH\t00\n",
    )
    return build_corpus(fasta, annotations=terms, chains=chains, min_length=10)


def test_the_vocabulary_is_that_of_esm2() -> None:
    assert VOCABULARY[:8] == ("<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V")
    assert VOCABULARY[-4:] == (".", "-", "<null_1>", "<mask>")
    assert len(VOCABULARY) == 33


def test_encode_gives_the_place_in_the_vocabulary() -> None:
    letters = "LAGVSERTIDPKQNFYMHWCXBUZO"
    assert [VOCABULARY[t] for t in encode(letters)] == list(letters)
    assert encode("J1*é").tolist() == [UNK] * 4


def test_a_table_is_read_as_well_as_fasta(tmp_path: Path) -> None:
    fasta = _write(tmp_path / "f.fasta", f">a comment\n{_ALL[:10]}\n {_ALL[10:].lower()}*\n\n>b\n{_ALL}AA\n")
    table = _write(tmp_path / "t.csv", f"id,sequence\na,{_ALL}\nb,{_ALL}AA\n")
    one, two = (build_corpus(path)[0] for path in (fasta, table))
    np.testing.assert_array_equal(one.tokens, two.tokens)
    np.testing.assert_array_equal(one.offsets, two.offsets)
    assert (one.lines.tolist(), two.lines.tolist()) == ([1, 5], [2, 3])


def test_every_record_is_used_or_counted(built: tuple[Corpus, CorpusReport]) -> None:
    corpus, report = built
    assert len(corpus) == report.used == 4  # one, two, x and the first chain
    assert (report.skipped_too_short, report.skipped_unknown_letters, report.skipped_label_length) == (
        1,
        1,
        1,
    )
    assert report.with_ambiguous_residues == 1
    assert report.examples_skipped == ["short", "bad", "chains.tsv:3"]
    assert report.residues == len(corpus.tokens) == 23 + 20 + 21 + 20


def test_annotations_belong_to_their_record(built: tuple[Corpus, CorpusReport]) -> None:
    corpus, report = built
    assert corpus.annotated.tolist() == [False, True, False, False]
    assert corpus.terms[corpus.term_offsets[1] : corpus.term_offsets[2]].tolist() == [0, 3]
    assert corpus.num_terms == 4
    assert (report.annotated, report.annotation_ids_not_found) == (1, 1)


def test_residue_labels_are_aligned(built: tuple[Corpus, CorpusReport]) -> None:
    corpus, report = built
    chain = slice(corpus.offsets[3], corpus.offsets[4])
    assert [SS8_STATES[s] for s in corpus.ss8[chain]][:8] == list("HBEGITSC")
    assert corpus.accessibility[chain].tolist() == list(range(10)) * 2
    assert (corpus.ss8[: corpus.offsets[3]] == NO_LABEL).all()
    assert corpus.has_residue_labels.tolist() == [False, False, False, True]
    assert report.with_residue_labels == 1


def test_a_corpus_is_kept_in_the_cache_until_a_file_changes(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.fasta", f">one\n{_ALL}\n>two\nMKV\n")
    built, report = build_corpus(path)
    corpus, kept, content = open_corpus(path)
    assert isinstance(corpus.tokens, np.memmap)
    for name in ("tokens", "offsets", "lines", "ss8", "accessibility", "terms", "term_offsets", "annotated"):
        np.testing.assert_array_equal(getattr(corpus, name), getattr(built, name))
    assert (corpus.num_terms, kept) == (built.num_terms, report)
    again, kept, same = open_corpus(path)
    assert (len(again), kept, same) == (1, report, content)
    _write(path, f">one\n{_ALL}\n>two\nMKV{_ALL}\n")
    changed, _, other = open_corpus(path)
    assert (len(changed), other == content) == (2, False)


def test_equal_sequences_have_one_identity(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.fasta", f">a\n{_ALL}\n>b\n{_ALL}A\n>c\n{_ALL}\n")
    one, two, three = build_corpus(path)[0].identities()
    assert one == three != two


def test_what_is_no_annotation_is_named(tmp_path: Path) -> None:
    fasta = _write(tmp_path / "a.fasta", f">one\n{_ALL}\n")
    with pytest.raises(RowError) as caught:
        build_corpus(fasta, annotations=_write(tmp_path / "go.tsv", "id\tterm_indices\none\t0 GO:1\n"))
    assert caught.value.problems[0].line == 2
    with pytest.raises(ColumnError, match="term_indices"):
        build_corpus(fasta, annotations=_write(tmp_path / "other.tsv", "id\tterms\none\t0\n"))
    with pytest.raises(ReadError):
        build_corpus(tmp_path / "missing.fasta")


def test_without_usable_records_there_is_an_empty_corpus(tmp_path: Path) -> None:
    corpus, report = build_corpus(_write(tmp_path / "a.fasta", ">a\nMK\n"))
    assert (len(corpus), report.used, report.skipped_too_short) == (0, 0, 1)
