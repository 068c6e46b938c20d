"""Pages of the reference that are made while the site is built, so that they cannot be out of date."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any

from mkdocs.structure.files import File, Files

from profactory.cli.main import COMMANDS, main
from profactory.config import TrainConfig
from profactory.web.helping import list_questions

WIDTH = "100"
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:tests|examples|recipes|src|benchmarks)/[^)]*\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages to those of the folder."""
    pages = {
        "reference/cli.md": command_line(),
        "reference/configuration.md": configuration(),
        "faq.md": questions("en", "Questions and answers"),
        "faq.zh.md": questions("zh", "常见问题"),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave the text of links into the rest of the repository, which is not part of the site."""
    return OUTSIDE.sub(r"\1", markdown)


def questions(language: str, title: str) -> str:
    """Return the questions of the page's tab Help, which are kept there."""
    parts, section = [f"# {title}\n"], ""
    for entry in list_questions(language):
        if entry.section != section:
            section = entry.section
            parts.append(f"## {section}\n")
        parts.append(f"### {entry.number}. {entry.question}\n\n{entry.answer.strip()}\n")
        if entry.command:
            parts.append(f"```text\n{entry.command}\n```\n")
    return "\n".join(parts)


def command_line() -> str:
    """Return what every command answers to ``--help``."""
    pages = [f"## {' '.join(words)}\n\n```text\n{answer(*words)}\n```\n" for words in commands()]
    return "# Command line\n\nWhat `profactory COMMAND --help` answers.\n\n" + "\n".join(pages)


def commands() -> Iterator[list[str]]:
    """Yield every command, and every command of a group such as ``runs``."""
    for name, *_ in COMMANDS:
        yield [name]
        page = answer(name)
        if "COMMAND" in page.partition("\n")[0]:
            inner = page.partition("─ Commands ")[2]
            yield from ([name, word] for word in re.findall(r"^│ ([a-z]\S*) ", inner, re.MULTILINE))


def answer(*words: str) -> str:
    """Return the help page of a command."""
    os.environ["COLUMNS"] = WIDTH
    with contextlib.redirect_stdout(io.StringIO()) as page:
        main([*words, "--help"])
    return page.getvalue().rstrip()


def configuration() -> str:
    """Return a table of the settings, section by section."""
    parts = [
        "# Configuration\n\nEvery setting of a training run: a flag (`--learning-rate`), a line of the YAML"
    ]
    parts.append(
        "file (`learning_rate: 0.001`), a field of the page, and an argument of `profactory.train`.\n"
    )
    for section in TrainConfig.sections:
        rows = [
            f"| `{name}` | {default(field)} | {' '.join((field.description or '').split())} |"
            for name, field in section.model_fields.items()
        ]
        parts += [f"\n## {section.group}\n", "| setting | default | |", "|---|---|---|", *rows]
    return "\n".join(parts) + "\n"


def default(field: Any) -> str:
    """Write a default; what is left open is chosen when the run starts."""
    return "chosen" if field.default is None else f"`{field.default}`"
