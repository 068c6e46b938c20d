"""The frame of the command line: help pages, exit codes, errors, what is imported when."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from profactory.cli import main as main_module
from profactory.cli import terminal
from profactory.cli.main import COMMANDS, main
from profactory.errors import Problem, RowError, StoppedError

PAGES = [
    *([name] for name, *_ in COMMANDS),
    *(["runs", name] for name in ("list", "show", "logs", "stop", "delete", "compare")),
    *(["datasets", name] for name in ("list", "show", "preview", "push")),
    *(["models", name] for name in ("list", "show")),
]
HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "pandas", "accelerate", "peft")


def _python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def _profactory(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return _python("from profactory.cli.main import main; raise SystemExit(main())", *arguments, **options)


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("words", PAGES, ids=" ".join)
def test_every_command_answers_help_with_an_example(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    page = capsys.readouterr().out
    assert re.search(rf"(?m)Example:\s+profactory {words[0]}", page), page
    assert max(map(len, page.splitlines())) <= 80
    assert "None" not in page


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=["nothing", "--help", "-h"])
def test_the_first_page_lists_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    page = capsys.readouterr().out
    assert all(re.search(rf"(?m)^│ {name} +\S", page) for name, *_ in COMMANDS)


def test_every_setting_of_the_configuration_is_a_flag_with_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from profactory.config import TrainConfig

    monkeypatch.setenv("COLUMNS", "400")
    assert main(["train", "--help"]) == 0
    page = capsys.readouterr().out
    for name, field in TrainConfig.model_fields.items():
        assert f"--{name.replace('_', '-')} " in page
        assert field.description is not None
        assert field.description.rstrip(".") in page, name
    for group in ("Output", "Data", "Model", "Training", "Machine"):
        assert f"─ {group} ─" in page
    assert "residue_classification" in page


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_start_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from profactory.cli.main import main; main(sys.argv[1:])\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    for arguments in (
        ["--help"],
        ["train", "--help"],
        ["predict", "--help"],
        ["runs", "list", "."],
        ["datasets", "list"],
    ):
        answer = _python(code, *arguments)
        assert answer.stdout.splitlines()[-1] == "[]", (arguments, answer.stdout[-300:], answer.stderr)


def test_help_takes_less_than_half_a_second() -> None:
    def processor_seconds() -> float:  # what others do on this machine at the same time does not count
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _profactory("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(processor_seconds() for _ in range(3)) < 0.5


def test_python_dash_m_works() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "profactory", "--version"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0


# ---------------------------------------------------------------- wrong usage: exit code 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["trian"], 'Did you mean "train"?'),
        (["train"], "DATA is missing"),
        (["train", "x.csv", "--epoch", "3"], "Did you mean --epochs?"),
        (["train", "x.csv", "--epochs", "three"], "--epochs"),
        (["train", "x.csv", "--method", "loar"], 'Did you mean "lora"?'),
        (["train", "x.csv", "--task", "regresion"], 'Did you mean "regression"?'),
        (["train", "x.csv", "y.csv"], "y.csv"),
        (["train", "x.csv", "--split-ratios", "0.8", "0.2"], "--split-ratios"),
        (["runs", "lisst"], 'Did you mean "list"?'),
        (["predict", "run"], "give either a file or --sequence"),
        (["predict", "run", "x.csv"], "--out"),
        (["predict", "run", "x.csv", "--sequence", "MKT", "--out", "y.csv"], "not both"),
        (["predict", "run", "--sequence", "MKT", "--out", "y.csv"], "--out is for files"),
        (["check", "x.csv", "--fix"], "--fix needs a place for the clean copy"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_was_meant(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ")
    assert said in captured.err
    assert "fix: " in captured.err
    assert captured.out == ""


# ---------------------------------------------------------------- problems: exit code 1


def test_all_settings_that_cannot_be_are_named_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 0\ndropout: 1.5\nlerning_rate: 0.1\n")
    assert main(["train", "x.csv", "--config", str(file), "--seed", "-1"]) == 1
    said = capsys.readouterr().err
    assert all(name in said for name in ("epochs", "dropout", "'lerning_rate'", "'learning_rate'", "seed"))
    assert "pydantic" not in said


def test_what_is_typed_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from profactory import api

    seen: dict[str, object] = {}

    def train(data: str, **settings: object) -> None:
        seen.update(settings, data=data)
        raise RowError("Enough seen.")

    monkeypatch.setattr(api, "train", train)
    file = tmp_path / "settings.yaml"
    file.write_text("epochs: 7\nseed: 3\nsplit_ratios: [0.6, 0.2, 0.2]\n")
    typed = [
        "--epochs",
        "2",
        "--label-column",
        "a",
        "--label-column",
        "b",
        "--task",
        "regression",
        "--out",
        "r",
    ]
    assert main(["train", "x.csv", "--config", str(file), *typed]) == 1
    assert seen == {
        "data": "x.csv",
        "out": Path("r"),
        "overwrite": False,
        "epochs": 2,
        "seed": 3,
        "split_ratios": (0.6, 0.2, 0.2),
        "label_column": ["a", "b"],
        "task": "regression",
    }


@pytest.mark.parametrize("content", [None, "- a\n", "a: [", b"\xff\xfe"])
def test_a_config_file_that_is_none_is_named(
    content: str | bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert main(["train", "x.csv", "--config", str(file)]) == 1
    assert str(file) in capsys.readouterr().err


def test_an_error_for_programs_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", str(tmp_path), "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ")
    said = json.loads(captured.out)
    assert said["error"] == "NotARunError"
    assert said["fix"]


def _raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    from profactory import api

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api, "resume", fail)
    return main(["resume", "somewhere"])


def test_problems_are_listed_and_long_lists_are_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem(f"reason {i}", line=i, value="\x1b[31mred\u202e") for i in range(100)]
    assert _raising(RowError("Rows.", fix="mend them", problems=problems), monkeypatch) == 1
    said = capsys.readouterr().err
    assert "reason 19" in said
    assert "reason 20" not in said
    assert "80 more" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_a_stopped_run_ends_with_the_code_of_its_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _raising(StoppedError("Stopped.", signal=15), monkeypatch) == 143
    assert _raising(StoppedError("Stopped.", signal=2), monkeypatch) == 130
    assert _raising(KeyboardInterrupt(), monkeypatch) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_the_system_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/out.csv")
    assert _raising(full, monkeypatch) == 1
    assert capsys.readouterr().err.startswith("Error: /data/out.csv: No space left on device")


def test_a_mistake_of_ours_is_shown_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _raising(ZeroDivisionError("ouch"), monkeypatch) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ZeroDivisionError: ouch" in said
    assert said.endswith("with: profactory resume somewhere\n")


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys\nfrom profactory.cli import main as m\nfrom profactory.cli import terminal\n"
        "class App:\n    def __call__(self, typed):\n"
        "        [terminal.say('x' * 1000) for _ in range(10000)]\n"
        "m.make_app = lambda meant: App()\nraise SystemExit(m.main([]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 141


def test_output_never_fails_for_want_of_a_character() -> None:
    answer = _python(
        "from profactory.cli import terminal; terminal.prepare(); terminal.say('✓ ready')",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert answer.stdout == "? ready\n"


# ---------------------------------------------------------------- terminal


def test_a_table_aligns_text_left_and_numbers_right() -> None:
    rows = [{"name": "a", "value": 0.5}, {"name": "long", "value": 12}, {"name": None, "value": float("nan")}]
    assert terminal.table(rows).splitlines() == [
        "name  value",
        "----  -----",
        "a       0.5",
        "long     12",
        "          -",
    ]
    assert terminal.table([]) == ""
    assert terminal.facts({"a": 1, "long": "x"}) == "a     1\nlong  x"


def test_json_has_no_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    terminal.say_json({"a": float("nan"), "b": np.float32(0.5), "c": (1, Path("x")), "d": np.array([1, 2])})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": 0.5, "c": [1, "x"], "d": [1, 2]}


def test_messages_of_the_library_go_to_stderr_and_warnings_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("profactory")
    with terminal.messages():
        logger.info("reading %s", "x\x1b[2J")
        logger.warning("careful")
    logger.info("not shown")
    captured = capsys.readouterr()
    assert captured.err == "reading x\\x1b[2J\nWarning: careful\n"
    assert captured.out == ""


def test_only_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with terminal.messages():
        logging.getLogger("profactory").warning("from the second")
        terminal.say("result")
        terminal.say_json({})
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_metrics_are_laid_out_beside_their_baselines() -> None:
    from profactory.cli.results import metric_table

    metrics = {
        "validation": {"mcc": {"value": 0.1, "low": 0.0, "high": 0.2}},
        "test": {
            "mcc": {"value": 0.5, "low": 0.25, "high": 0.75},
            "auroc": {"value": float("nan"), "low": None, "high": None},
            "per_class": {"a": {"f1": 1.0}},
            "n": 100,
        },
        "baselines": {"majority": {"mcc": {"value": 0.0}}, "composition": {"mcc": 0.25}},
    }
    assert metric_table(metrics).splitlines() == [
        "test   value  95 % interval  majority  composition",
        "-----  -----  -------------  --------  -----------",
        "mcc      0.5  0.250 - 0.750         0         0.25",
        "auroc      -",
    ]
    assert metric_table({}) == "Nothing was measured."


def test_libraries_are_told_to_send_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    main_module._quiet_libraries()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_an_option_that_takes_several_words_takes_them_as_the_help_page_writes_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "bundled:demo-location", "--features", "charge", "length", "colour", "--epochs", "1"]
    assert main(words) == 1
    assert "No feature is called 'colour'" in capsys.readouterr().err
