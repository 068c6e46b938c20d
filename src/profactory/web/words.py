"""The texts of the page, in English and Chinese, from ``texts/<language>.toml``."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profactory.evaluation.names import label_of

FOLDER = Path(__file__).with_name("texts")
LANGUAGES = {"en": "English", "zh": "简体中文"}


class Words:
    """The texts of one language.

    Parameters
    ----------
    language
        ``en`` or ``zh``.

    Examples
    --------
    >>> Words("en")("runs.title"), Words("zh")("runs.title")
    ('Runs', '训练记录')
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = dict(load_texts(language))
        if language != "en":  # English sentences are written by the commands themselves
            self._texts |= load_texts(f"sentences_{language}")
        self._settings = load_texts(f"settings_{language}") if language != "en" else {}

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with `values` put into its ``{name}`` places."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def maybe(self, key: str, default: str) -> str:
        """Return a text, or `default` where there is none: for names that come from other rooms."""
        return self._texts.get(key, default)

    def metric(self, name: str) -> str:
        """Return how a metric is written for people."""
        return self.maybe(f"metric.{name}", label_of(name))

    def setting(self, name: str, part: str, default: str) -> str:
        """Return the ``label`` or ``help`` of a setting; English is the setting's own docstring."""
        return self._settings.get(f"{name}.{part}", default)


@functools.cache
def load_texts(name: str) -> dict[str, str]:
    """Read a file of texts: ``{"section.key": text}``."""
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    return dict(_flat(content, ""))


def _flat(content: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return found


def preferred_language(chosen: str | None, accepted: str) -> str:
    """Return the language of a visitor: the one chosen before, else what the browser asks for.

    Parameters
    ----------
    chosen
        Content of the cookie.
    accepted
        The header ``Accept-Language``.

    Examples
    --------
    >>> preferred_language(None, "zh-CN,zh;q=0.9,en;q=0.8"), preferred_language("en", "zh-CN")
    ('zh', 'en')
    """
    if chosen in LANGUAGES:
        return str(chosen)
    wanted = [part.strip()[:2].lower() for part in accepted.split(",")]
    return next((language for language in wanted if language in LANGUAGES), "en")
