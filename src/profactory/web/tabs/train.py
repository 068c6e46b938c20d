"""Train: data, model, method, settings; the command behind them; start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from profactory import jobs
from profactory.config import TrainConfig, read_yaml
from profactory.errors import ProFactoryError
from profactory.web import markup
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.costing import Cost, cost_of
from profactory.web.form import FRONT, fill_form, folded_sections, make_control, read_form
from profactory.web.picking import choose_data, column_names, data_picker
from profactory.web.planning import is_taken, plan_training, settings_of_run, suggest_name
from profactory.web.sentences import said
from profactory.web.standing import list_standings
from profactory.web.telling import duration
from profactory.web.words import Words

GIB = 1 << 30


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    workspace, words = context.workspace, context.words
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            picker = data_picker(workspace, words, name="train")
            controls = _controls(words)
            restoring = _restoring(context)
        with gr.Column(scale=4, min_width=320, elem_classes="pf-sticky"):
            name = gr.Textbox(
                label=words("train.name"), info=words("train.name_help"), elem_id="train-name", max_length=100
            )
            preview = gr.HTML(
                markup.empty(words("train.empty"), words("train.empty_hint")), elem_id="train-preview"
            )
            fit = gr.HTML()
            trouble = gr.HTML()
            start = gr.Button(words("train.start"), variant="primary", elem_id="train-start")
            save = gr.Button(words("train.save"), elem_id="train-save")
            written = gr.Textbox(visible="hidden")
    names, inputs = list(controls), [picker.choice, *controls.values()]
    suggested = gr.State("")

    def show(run: str, last: str, source: str | None, *values: Any) -> tuple[Any, str, str, str]:
        given = dict(zip(names, values, strict=True))
        if not source:
            return gr.skip(), last, _preview(context, source, run, given), _cost("", given, words)
        chosen = run if run and run != last else suggest_name(workspace, source, given)
        suggestion = last if chosen == run else chosen
        # A name that stays is not sent: somebody may be typing another one by now.
        sent = gr.skip() if chosen == run else chosen
        return sent, suggestion, _preview(context, source, chosen, given), _cost(source, given, words)

    def change_name(run: str, source: str | None, *values: Any) -> str:
        return _preview(context, source, run, dict(zip(names, values, strict=True)))

    def begin(run: str, source: str | None, *values: Any) -> tuple[Any, ...]:
        try:
            plan = plan_training(workspace, source or "", run, dict(zip(names, values, strict=True)))
            job = jobs.start(plan.verb, plan.arguments, run=plan.run)
        except ProFactoryError as error:
            return markup.problem(error, words), gr.skip(), gr.skip(), gr.skip()
        text = words("train.attached" if job.attached else "train.started", name=plan.run.name)
        return markup.note(text, kind="good"), gr.update(selected="runs"), plan.run.name, "runs"

    everything = [name, suggested, *inputs]
    changes = [component.change for component in inputs]  # type: ignore[attr-defined]
    gr.on(changes, show, everything, [name, suggested, preview, fit], trigger_mode="always_last", **QUICK)
    name.change(change_name, [name, *inputs], preview, trigger_mode="always_last", **QUICK)
    start.click(
        begin,
        [name, *inputs],
        [trouble, shared.tabs, shared.opened, shared.visible],
        show_progress="hidden",
        **ONCE,
    )
    save.click(
        lambda *values: _to_yaml(dict(zip(names, values, strict=True))),
        list(controls.values()),
        written,
        **QUICK,
    ).then(None, written, None, js="(text) => window.profactory.save('profactory.yaml', text)")
    _offer_columns(context, picker.choice, controls)
    _restore(context, restoring, picker.choice, controls, trouble)
    shared.data.change(
        lambda source: choose_data(workspace, words, source), shared.data, picker.choice, **QUICK
    )


def _offer_columns(
    context: Context, choice: gr.Dropdown, controls: Mapping[str, gr.components.Component]
) -> None:
    """Let the columns of the data that were chosen be chosen."""
    columns = [control for name, control in controls.items() if name.endswith("_column")]

    def offer(source: str | None) -> list[Any]:
        return [gr.update(choices=column_names(context.workspace, source))] * len(columns)

    choice.change(offer, choice, columns, **QUICK)


def _restore(
    context: Context,
    restoring: tuple[gr.Dropdown, gr.UploadButton],
    choice: gr.Dropdown,
    controls: Mapping[str, gr.components.Component],
    trouble: gr.HTML,
) -> None:
    """Fill the form from an earlier run or from a file."""
    workspace, words = context.workspace, context.words
    restore, upload = restoring

    def from_run(run: str | None) -> list[Any]:
        if not run:
            return [gr.skip()] * (2 + len(controls))
        try:
            source, settings = settings_of_run(workspace, run)
            filled = fill_form(settings)
        except ProFactoryError as error:
            return [markup.problem(error, words), *[gr.skip()] * (1 + len(controls))]
        return ["", _known(workspace.data_choices(), source), *(filled[name] for name in controls)]

    def from_file(file: str) -> list[Any]:
        try:
            _, settings = read_yaml(file)
            filled = fill_form(settings)
        except ProFactoryError as error:
            return [markup.problem(error, words), *[gr.skip()] * len(controls)]
        return ["", *(filled[name] for name in controls)]

    restore.input(from_run, restore, [trouble, choice, *controls.values()], **QUICK)
    upload.upload(from_file, upload, [trouble, *controls.values()], **QUICK)


def _controls(words: Words) -> dict[str, gr.components.Component]:
    """Make all settings: the main ones in a grid, the rest folded away by section."""
    controls: dict[str, gr.components.Component] = {}
    with gr.Row(elem_classes="pf-grid"):
        for name in FRONT:
            controls[name] = make_control(name, words)
    for title, names in folded_sections(words):
        with gr.Accordion(words("train.more", section=title), open=False), gr.Row(elem_classes="pf-grid"):
            for name in names:
                controls[name] = make_control(name, words)
    return controls


def _restoring(context: Context) -> tuple[gr.Dropdown, gr.UploadButton]:
    words = context.words
    with gr.Accordion(words("train.restore"), open=False), gr.Row(equal_height=True):
        restore = gr.Dropdown(
            _past_runs(context),
            value=None,
            label=words("train.restore_run"),
            elem_id="train-restore",
            scale=3,
        )
        upload = gr.UploadButton(
            words("train.restore_file"), file_types=[".yaml", ".yml"], scale=1, min_width=160
        )
    restore.focus(lambda: gr.update(choices=_past_runs(context)), None, restore, **QUICK)
    return restore, upload


def _past_runs(context: Context) -> list[str]:
    return [standing.name for standing in list_standings(context.workspace) if standing.summary]


def _known(choices: list[str], source: str) -> Any:
    """Return the choice that means the same file, else the path itself."""
    here = Path(source)
    return next((c for c in choices if c == source or Path(c).absolute() == here), source)


def _preview(context: Context, source: str | None, run: str, values: Mapping[str, Any]) -> str:
    words = context.words
    if not source:
        return markup.empty(words("train.empty"), words("train.empty_hint"))
    try:
        plan = plan_training(context.workspace, source, run, values)
    except ProFactoryError as error:
        return markup.problem(error, words)
    taken = (
        markup.note(words("train.taken", name=run), kind="warn") if is_taken(context.workspace, run) else ""
    )
    return (
        f'<p class="pf-small">{markup.safe(words("train.preview"))}</p>{markup.command(plan.command)}{taken}'
    )


def _cost(source: str, values: Mapping[str, Any], words: Words) -> str:
    found = cost_of(source, values)
    if found.spec is None:
        return ""
    needed = "" if found.estimate is None else f"{found.estimate.memory_bytes / GIB:.1f}"
    verdict = {True: "train.fits", False: "train.too_large", None: "train.unknown_size"}[found.fits]
    text = words(verdict, needed=needed, free=f"{found.free / GIB:.1f}")
    mark = {True: "✓", False: "✗", None: "?"}[found.fits]
    kind = "pf-warn" if found.fits is False else "pf-info"
    lead = f'<p class="pf-lead">{mark} {markup.safe(text)}</p>'
    return f'<div class="pf-note {kind}">{lead}{markup.facts(_cost_facts(found, words))}</div>'


def _cost_facts(found: Cost, words: Words) -> dict[str, object]:
    """Say what the model is, and what training would take on this machine."""
    spec, guess = found.spec, found.estimate
    if spec is None:
        return {}
    facts: dict[str, object] = {
        words("model.title"): said(spec.title, words),
        words("model.parameters"): f"{spec.parameters / 1e6:,.0f} M" if spec.parameters else None,
        words("model.longest"): spec.max_length,
        words("model.licence"): spec.licence,
        words("model.where"): words("model.here" if spec.local else "model.hub"),
    }
    if guess is not None and found.sequences:
        facts[words("cost.once")] = duration(guess.seconds_once, words) if guess.seconds_once else None
        facts[words("cost.epoch")] = duration(guess.seconds_per_epoch, words)
        facts[words("cost.disk")] = f"{guess.disk_bytes / GIB:.2f} GiB"
    return facts


def _to_yaml(values: Mapping[str, Any]) -> str:
    """Return the settings as a file that ``--config`` takes; nothing if the preview shows what is wrong."""
    import yaml

    try:
        settings = read_form(values)
    except ProFactoryError:
        return ""
    plain = TrainConfig.build(settings).model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
