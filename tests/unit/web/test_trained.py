"""Which models and places a visitor may name, and what is handed on with a push."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from profactory.errors import ConfigError, NotARunError
from profactory.web.context import Context
from profactory.web.planning import check_places, structure_flags
from profactory.web.pushing import check_repository, variables_of
from profactory.web.tables import summary_chart
from profactory.web.trained import check_model
from profactory.web.watching import EventLogs
from profactory.web.words import Words
from profactory.web.workspace import Workspace

ENGLISH = Words("en")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/.uploads/0123456789abcdef", "data/pdb", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("runs/.uploads/0123456789abcdef/shared model.zip", "data/mine.zip", "elsewhere/x.zip"):
        (tmp_path / name).write_bytes(b"PK")
    return Context(Workspace(Path("runs"), Path("data")), ENGLISH, EventLogs())


def test_a_model_is_uploaded_or_named_on_the_hub(context: Context) -> None:
    place = "runs/.uploads/0123456789abcdef/shared model.zip"
    uploaded = check_model(context, place)
    assert (uploaded.place, uploaded.run) == (place, Path("runs/shared-model"))
    named = check_model(context, " lab/solubility@v1 ")
    assert (named.place, named.run) == ("lab/solubility@v1", Path("runs/lab-solubility-v1"))


@pytest.mark.parametrize(
    "name",
    [
        "", None, "no-such-run", "../elsewhere", "elsewhere/x.zip", "data/mine.zip", "/etc/passwd", "a\0b/c",
        "runs/.uploads/0123456789abcdef/../../../elsewhere/x.zip", "data/pdb", "https://evil.example/x",
        "runs/.uploads/0123456789abcdef/missing.zip", "x\\y",
    ],
)  # fmt: skip
def test_other_places_are_refused(context: Context, name: str | None) -> None:
    with pytest.raises(NotARunError):
        check_model(context, name)


def test_settings_name_nothing_outside(context: Context) -> None:
    check_places(context.workspace, {"structures": "data/pdb", "epochs": 3})
    with pytest.raises(ConfigError) as refusal:
        check_places(context.workspace, {"structures": "elsewhere", "init": "data/../elsewhere"})
    assert len(refusal.value.problems) == 2
    given = {"structures": "data/pdb", "missing_structure": "mask"}
    assert structure_flags(context.workspace, given) == ["--structures=data/pdb", "--missing-structure=mask"]
    assert structure_flags(context.workspace, {"structures": "", "missing_structure": "mask"}) == []
    with pytest.raises(ConfigError, match="may not read"):
        structure_flags(context.workspace, {**given, "structures": "/etc"})


def test_a_token_is_handed_on_and_never_repeated() -> None:
    assert variables_of("  hf_abc ") == {"HF_TOKEN": "hf_abc"}
    assert variables_of(" ") == {}
    for wrong in ("hf_secret and more", "hf_secret\nX=1", "hf_sécret"):
        with pytest.raises(ConfigError) as refusal:
            variables_of(wrong)
        assert "secret" not in str(refusal.value)


def test_a_repository_has_an_owner_and_a_name() -> None:
    assert check_repository(" lab/solubility ") == "lab/solubility"
    for wrong in ("", "solubility", "a/b/c", "lab/x@main", "https://huggingface.co/a/b"):
        with pytest.raises(ConfigError):
            check_repository(wrong)


@pytest.mark.parametrize(
    ("cells", "columns", "bars"),
    [
        (["cytoplasm", "nucleus", "nucleus"], ["probability_nucleus"], 2),
        (["a,b", "b", ""], ["probability_a"], 2),
        (["HHEC", "CCEE"], [], 3),
        (["0.5", "1.5"], [], 30),
        (["0.5,,0.25", "1.5"], [], 30),
    ],
)
def test_a_table_of_predictions_tells_what_it_is(
    tmp_path: Path, cells: list[str], columns: list[str], bars: int
) -> None:
    file = tmp_path / "predictions.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["prediction", *columns])
        writer.writerows([cell, *["0.5"] * len(columns)] for cell in cells)
    figure = summary_chart(file, "", ENGLISH)
    assert figure is not None
    assert len(figure.data[0].y) == bars
