"""The form of a training run, made from the fields of :class:`profactory.config.TrainConfig`.

A field's type gives the kind of its control, its docstring the help, its section the place. What is left
empty is not passed on, so that it is chosen for the data and the machine when the run starts.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from pydantic.fields import FieldInfo

from profactory.config import TrainConfig
from profactory.errors import ConfigError, Problem
from profactory.models.zoo import list_models
from profactory.web.words import Words

#: Shown at once, in this order; everything else is folded away under the title of its section.
FRONT = ("model", "method", "pooling", "label_column", "split", "epochs", "learning_rate", "batch_size")
#: Running foreign code is for who has a terminal on the machine.
TERMINAL_ONLY = ("trust_remote_code",)
_MEANT = {"whole": "a whole number", "number": "a number", "numbers": "a list of numbers such as 0.8 0.1 0.1"}
_WRITTEN = {
    "lora": "LoRA",
    "nan": "NaN",
    "id": "ID",
    "max": "maximum",
    "grad": "gradient",
    "eval": "evaluation",
}


def form_fields() -> dict[str, FieldInfo]:
    """Return the settings that the page offers, in their order."""
    return {name: field for name, field in TrainConfig.model_fields.items() if name not in TERMINAL_ONLY}


def kind_of(annotation: Any) -> str:
    """Return the kind of control for a type.

    Examples
    --------
    >>> kind_of(int | None), kind_of(Literal["a", "b"]), kind_of(tuple[float, float]), kind_of(bool)
    ('whole', 'choice', 'numbers', 'switch')
    """
    parts = _without_none(annotation)
    inner = parts[0] if len(parts) == 1 else str  # of several kinds, typed as text
    if choices_of(inner):
        return "choice"
    if get_origin(inner) is tuple:
        return "numbers"
    if get_origin(inner) is list:
        return "list"
    return {bool: "switch", int: "whole", float: "number"}.get(inner, "text")


def choices_of(annotation: Any) -> list[str]:
    """Return the values that a type allows, if they can be counted."""
    inner, *others = _without_none(annotation)
    if others:
        return []
    if get_origin(inner) is Literal:
        return [str(value) for value in get_args(inner)]
    if isinstance(inner, type) and issubclass(inner, StrEnum):
        return [str(member) for member in inner]
    return []


def make_control(name: str, words: Words, *, tab: str = "setting") -> gr.components.Component:
    """Return the control of one setting; `tab` begins its identifier in the document."""
    field = TrainConfig.model_fields[name]
    kind = kind_of(field.annotation)
    common: dict[str, Any] = {
        "label": words.setting(name, "label", english_label(name)),
        "info": words.setting(name, "help", field.description or ""),
        "elem_id": f"{tab}-{name}",
        "interactive": True,
    }
    if name == "model":
        return gr.Dropdown(_models(words), value=field.default, allow_custom_value=True, **common)
    if kind == "choice":
        return gr.Dropdown(_choices(field, words), value=field.default or "", **common)
    if kind == "switch":
        return gr.Checkbox(value=field.default, **common)
    if kind == "list":
        (items,) = get_args(_without_none(field.annotation)[0])
        known = choices_of(items)
        return gr.Dropdown(known, value=[], multiselect=True, allow_custom_value=not known, **common)
    if name.endswith("_column"):
        return gr.Dropdown([("", "")], value="", allow_custom_value=True, **common)
    return gr.Textbox(_shown(field.default), placeholder=words("form.automatic"), **common)


def english_label(name: str) -> str:
    """Return a setting's name as it is written in English.

    Examples
    --------
    >>> english_label("lora_rank"), english_label("on_nan"), english_label("batch_size")
    ('LoRA rank', 'On NaN', 'Batch size')
    """
    first, *rest = (_WRITTEN.get(word, word) for word in name.split("_"))
    return " ".join([first[0].upper() + first[1:], *rest])


def folded_sections(words: Words) -> Iterable[tuple[str, list[str]]]:
    """Yield the title of each section with those of its settings that are not in front."""
    offered = form_fields()
    for section in TrainConfig.sections:
        names = [n for n in section.model_fields if n in offered and n not in FRONT]
        yield words.setting("section", section.group.lower(), section.group), names


def read_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set: the values that differ from the defaults, as the configuration knows them.

    Parameters
    ----------
    values
        Content of the controls by name of the setting.

    Raises
    ------
    ConfigError
        With everything that is wrong, also what the configuration itself refuses.
    """
    fields, given, problems = TrainConfig.model_fields, {}, []
    for name, shown in values.items():
        kind = kind_of(fields[name].annotation)
        try:
            value = _parsed(kind, shown)
        except ValueError:
            problems.append(Problem(f"{name}: {shown!r} is not {_MEANT[kind]}"))
            continue
        if value is not None and _shown(value) != _shown(fields[name].default):
            given[name] = value
    if problems:
        raise ConfigError(
            "The options cannot be used.", problems=problems, fix="mend them, or leave them empty"
        )
    TrainConfig.build(given)
    return given


def fill_form(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of every control for settings; the default where one is not given."""
    config = TrainConfig.build(settings)
    return {name: _content(name, getattr(config, name)) for name in form_fields()}


def _content(name: str, value: Any) -> Any:
    kind = kind_of(TrainConfig.model_fields[name].annotation)
    if kind == "list":
        return list(value or [])
    return value if kind == "switch" else _shown(value)


def _parsed(kind: str, shown: Any) -> Any:
    """Turn what a control holds into a value of the configuration; None if it is empty.

    Raises
    ------
    ValueError
        It is no number where one is meant.
    """
    if shown in (None, "", []) or kind in ("switch", "list"):
        return shown or (None if kind != "switch" else False)
    text = str(shown).strip()
    if kind == "numbers":
        return tuple(float(part) for part in text.replace(",", " ").split())
    return {"whole": int, "number": float}.get(kind, str)(text) if text else None


def _shown(value: Any) -> str:
    """Return a value as it is typed."""
    if isinstance(value, tuple | list):
        return " ".join(map(_shown, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _choices(field: FieldInfo, words: Words) -> list[tuple[str, str]]:
    shown = [(words.maybe(f"choice.{value}", value), value) for value in choices_of(field.annotation)]
    return [(words("form.automatic"), ""), *shown] if field.default is None else shown


def _models(words: Words) -> list[tuple[str, str]]:
    return [(_model_line(spec.name, spec.parameters), spec.name) for spec in list_models()]


def _model_line(name: str, parameters: int | None) -> str:
    return f"{name}  ·  {parameters / 1e6:,.0f} M" if parameters else name


def _without_none(annotation: Any) -> list[Any]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for part in get_args(annotation) if part is not type(None)]
    return [annotation]
