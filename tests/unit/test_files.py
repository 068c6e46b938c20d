from __future__ import annotations

from pathlib import Path

import pytest

from profactory import files
from profactory.errors import Problem, ProFactoryError, StoppedError, read_message


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with files.atomic_dir(target) as temporary:
        (temporary / "x").write_text("1")
        assert not target.exists()
    with pytest.raises(RuntimeError), files.atomic_dir(target) as temporary:
        (temporary / "x").write_text("2")
        raise RuntimeError
    assert (target / "x").read_text() == "1"
    with files.atomic_dir(target) as temporary:
        (temporary / "y").write_text("3")
    assert [path.name for path in target.iterdir()] == ["y"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.atomic_write_json(tmp_path / "a.json", {"x": float("nan")})


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(tmp_path / "abc") == files.sha256_bytes(b"abc") == known


def test_an_error_says_found_expected_fix_and_every_problem() -> None:
    problems = [Problem("bad letter", file="a.csv", line=i, column="seq", value="X1") for i in range(25)]
    error = ProFactoryError("25 rows are bad.", expected="good rows", fix="mend them", problems=problems)
    text = str(error)
    assert "a.csv, line 0, column 'seq': bad letter (found 'X1')" in text
    assert "… and 5 more" in text
    assert text.endswith("expected: good rows\n  fix: mend them")
    assert len(error.to_dict()["problems"]) == 25


def test_a_printed_error_is_read_back() -> None:
    """The page shows the parts of an error of which the log of a job holds the text."""
    problems = [
        Problem("the header does not match: the header pattern", "a, b.csv", 3, value="x (found 'y')"),
        Problem("a letter", "t.csv", 4, "it's", "1"),
        Problem("no place: just words"),
    ]
    error = ProFactoryError("2 of 3: bad.\nReally.", expected="x: y", fix="mend: them", problems=problems)
    again = read_message(error.message())
    assert (again.found, again.expected, again.fix) == (error.found, error.expected, error.fix)
    assert again.problems == error.problems
    assert again.message() == error.message()


def test_a_stop_by_signal_keeps_its_number() -> None:
    assert StoppedError("stopped", signal=15).exit_code == 143
