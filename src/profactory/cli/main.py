"""Entry of the command line: the list of commands, and what becomes of errors.

Exit codes: 0 success, 1 a problem that the message explains, 2 wrong usage, 130 interrupted, 128 + signal
for a run that was stopped (and can be resumed).
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from profactory.cli import terminal
from profactory.errors import ProFactoryError

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.exceptions import CycloptsError

SUMMARY = """From a table of protein sequences to a validated predictor.

Start with: profactory demo
Your data:  profactory train DATA
"""
FIRST, DATA, MODEL, RUNS = "First steps", "Data", "Train and use", "Look around"
#: name, where it lives, what the list of commands says, group
COMMANDS = (
    ("demo", "demo:demo", "Train, evaluate and predict on bundled data: see that all works.", FIRST),
    ("doctor", "doctor:doctor", "Check this machine: Python, torch, GPU, memory, disk, packages.", FIRST),
    ("check", "data:check", "Report on a table of sequences; name every row that cannot be used.", DATA),
    ("split", "data:split", "Divide a table into train, validation and test.", DATA),
    ("structure", "structure:structure", "Turn PDB and mmCIF files into 3Di and secondary structure.", DATA),
    ("datasets", "datasets:datasets", "The data sets that have a name: list, show, preview, push.", DATA),
    ("train", "train:train", "Train a model on a table; says what it chose and why.", MODEL),
    ("pretrain", "pretrain:pretrain", "Train a language model on sequences, new or continued.", MODEL),
    ("sweep", "sweep:sweep", "Try models and settings; the best by validation, measured once.", MODEL),
    ("resume", "train:resume", "Go on with a run that was stopped or killed.", MODEL),
    ("evaluate", "evaluate:evaluate", "Measure a trained model on labelled data.", MODEL),
    ("predict", "predict:predict", "Predict for a file of sequences, or for one.", MODEL),
    ("embed", "embed:embed", "Embeddings of sequences, one vector each or one per residue.", MODEL),
    ("export", "export:export", "Write a model as ONNX, OpenVINO, merged weights or one file.", MODEL),
    ("push", "push:push", "Share a trained model on the Hugging Face Hub.", MODEL),
    ("runs", "runs:runs", "The runs: list, show, logs, stop, compare, delete.", RUNS),
    ("ui", "ui:ui", "Open the web page: train, watch, evaluate and predict without typing.", RUNS),
    ("models", "models:models", "The catalogue of protein language models: list, show.", RUNS),
)


def make_app(meant: str = "") -> App:
    """Put the commands together; none of their modules is imported yet.

    Parameters
    ----------
    meant
        The command that was typed. Its own page is described by its docstring; the others by one line.
    """
    from cyclopts import App, Group

    order = {title: Group(title, sort_key=i) for i, title in enumerate((FIRST, DATA, MODEL, RUNS))}
    app = App(
        name="profactory",
        help=SUMMARY,
        help_format="plaintext",
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    app["--help"].group = app["--version"].group = Group("Help", sort_key=9)
    for position, (name, place, text, group) in enumerate(COMMANDS):
        about = None if name == meant else text
        app.command(f"profactory.cli.{place}", name=name, help=about, group=order[group], sort_key=position)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        What was typed behind ``profactory``; that of this process if not given.

    Returns
    -------
    int
        The exit code.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    _quiet_libraries()
    terminal.prepare()
    try:
        with terminal.messages():
            code = _run(typed)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        terminal.say_error("interrupted")
        return 128 + signal.SIGINT
    return code


def _run(typed: list[str]) -> int:
    from cyclopts.exceptions import CycloptsError

    try:
        result = make_app(next(iter(typed), ""))(typed)
    except CycloptsError as error:
        terminal.say_error(f"{_usage(error)}\n  fix: {_help_line(typed)}")
        return 2
    except ProFactoryError as error:
        terminal.say_problem(error, as_json="--json" in typed)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        terminal.say_error(
            f"{place}{error.strerror or error}\n  fix: check the path, its permissions and the disk"
        )
        return 1
    except Exception:  # noqa: BLE001 - the last resort: shown whole, never hidden
        traceback.print_exc()
        terminal.say_error(
            f"This is a mistake in ProFactory.\n  fix: please report the lines above, with: {_typed(typed)}"
        )
        return 1
    return result if isinstance(result, int) else 0


def _version() -> str:
    from profactory import __version__

    return __version__


def _typed(words: Sequence[str]) -> str:
    return shlex.join(["profactory", *words])


def _usage(error: CycloptsError) -> str:
    """Say in our words what cannot be understood."""
    from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError):
        return f"Nothing is expected here: {' '.join(error.unused_tokens or [])}."
    if type(error) is MissingArgumentError and error.argument and not error.argument.tokens:
        return f"{error.keyword} needs a value." if error.keyword else f"{error.argument.name} is missing."
    return str(error)


def _help_line(typed: Sequence[str]) -> str:
    """Name the help page of the command that was meant, if one was."""
    known = {name for name, *_ in COMMANDS}
    words = [word for word in typed[:1] if word in known]
    return " ".join(["see profactory", *words, "--help"])


def _quiet_libraries() -> None:
    """Set what other libraries read when they are imported: no chatter, no telemetry."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # advertises another package at every import


def _forget_output() -> None:
    """Whoever read our output has gone: let the interpreter's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    raise SystemExit(main())
