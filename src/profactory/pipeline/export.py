"""A trained model in another form: exported, compared with the original, and then kept."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.errors import ConfigError, ExportError, RunExistsError
from profactory.evaluation.metrics import compute_metrics
from profactory.files import atomic_dir, read_json
from profactory.inference.engines import Engine
from profactory.inference.engines.onnx_engine import OnnxEngine
from profactory.inference.engines.openvino_engine import OpenVinoEngine, openvino
from profactory.inference.engines.torch_engine import TorchEngine
from profactory.inference.export.about import describe, example
from profactory.inference.export.answers import Answer
from profactory.inference.export.graph import METADATA, require_onnx, write_onnx
from profactory.inference.export.parity import check_parity, largest_difference
from profactory.inference.export.quantizing import quantize_int8
from profactory.inference.export.report import ExportReport
from profactory.inference.predictor import Predictor
from profactory.models.ensembles import is_ensemble, load_ensemble
from profactory.models.extra_inputs import Sample
from profactory.models.protein_model import ProteinModel
from profactory.tasks import Task, Values
from profactory.training.sources import truncated

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch

#: How much of the metric int8 may cost on the validation rows.
INT8_LIMIT = 0.01


def export_model(
    folder: Path,
    out: Path,
    *,
    format: str,
    quantize: str | None = None,
    force: bool = False,
    overwrite: bool = False,
) -> ExportReport:
    """Export a saved model; see :func:`profactory.api.export`."""
    _check_request(folder, out, format, quantize, overwrite)
    provenance = read_json(folder / "config.json")["profactory"]["provenance"]
    if format == "merged":
        return _merged(ProteinModel.load(folder).merge(), folder, out, provenance)
    model, answer, about = _opened(folder, provenance)
    rows = _validation_rows(model, answer.task, folder.parent) if quantize else None
    with atomic_dir(out) as made:
        plain = made / "model.onnx"
        write_onnx(answer, model, plain, about)
        difference = largest_difference(model, _run_torch(answer), OnnxEngine(plain).run)
        check_parity(difference, "The ONNX graph")
        about = {**about, "largest_difference": difference}
        quantized = (
            {}
            if rows is None
            else _quantize(_AnswerPredictor(model, answer.task, OnnxEngine(plain)), plain, about, rows, force)
        )
        about |= {"int8": quantized} if quantized else {}
        if format == "openvino":
            difference = _to_openvino(model, answer, plain, about)
        else:
            _write_example(model, made)
        (made / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return ExportReport(out, format, difference, quantized)


def _opened(folder: Path, provenance: dict[str, Any]) -> tuple[ProteinModel, Answer, dict[str, Any]]:
    """Return the model (of an ensemble the first), what becomes the graph, and what is said of it."""
    if is_ensemble(folder):
        members, task, calibration = load_ensemble(folder)
    else:
        members = [ProteinModel.load(folder)]
        task, calibration = members[0].task, members[0].calibration
    model, *_ = members = [member.merge() for member in members]
    if model.extra_inputs.in_tokens and model.extra_inputs.structures:
        raise ConfigError(
            "The model reads structure letters in its tokens, for which an exported graph has no table.",
            expected="a model of sequences, features, or structures beside the sequence (ses-adapter)",
            fix="--format zip, which predict takes with --structures",
        )
    about = describe(model, provenance, task=task, calibration=calibration, members=len(members))
    return model, Answer(members, task).eval(), about


def _check_request(folder: Path, out: Path, format: str, quantize: str | None, overwrite: bool) -> None:
    """Refuse what cannot be before the model is loaded."""
    if format not in ("onnx", "openvino", "merged"):
        raise ConfigError(f"No format is called {format!r}.", expected="onnx, openvino, merged or zip")
    if quantize not in (None, "int8"):
        raise ConfigError(f"Weights cannot be quantised to {quantize!r}.", expected="int8")
    if quantize and format != "onnx":
        raise ConfigError(f"int8 weights are for the format onnx, not for {format}.", fix="--format onnx")
    if format == "merged" and is_ensemble(folder):
        raise ConfigError(
            f"{folder} is an ensemble of several models, which have no common weights.",
            expected="one model",
            fix=f"export one of {folder / 'members'}, or all of them with --format zip, onnx or openvino",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise RunExistsError(f"{out} exists already.", fix="choose another --out, or add --overwrite")
    if format != "merged":
        require_onnx()
    if format == "openvino":
        openvino()


def _merged(model: ProteinModel, folder: Path, out: Path, provenance: dict[str, Any]) -> ExportReport:
    """Write the model with its adapter in the weights, and compare what is read back with the original."""
    original = TorchEngine(ProteinModel.load(folder), "cpu")
    model.save(out, provenance=provenance, self_contained=True)
    difference = largest_difference(model, original.run, TorchEngine(ProteinModel.load(out), "cpu").run)
    try:
        check_parity(difference, "The merged model")
    except ExportError:
        shutil.rmtree(out)
        raise
    return ExportReport(out, "merged", difference)


def _run_torch(answer: Answer) -> Callable[[TokenBatch], NDArray[np.float32]]:
    def run(batch: TokenBatch) -> NDArray[np.float32]:
        with torch.inference_mode():
            outputs = answer(batch.input_ids, batch.attention_mask, batch.lengths, *batch.extras.values())
        return np.asarray(outputs.float().numpy())

    return run


def _to_openvino(model: ProteinModel, answer: Answer, plain: Path, about: dict[str, Any]) -> float:
    """Turn the ONNX graph into OpenVINO's two files; return the difference of their answers."""
    runtime = openvino()
    graph = runtime.convert_model(str(plain))
    graph.set_rt_info(json.dumps(about), [METADATA])
    file = plain.with_name("model.xml")
    runtime.save_model(graph, str(file), compress_to_fp16=False)
    for left in (plain, plain.with_name(plain.name + ".data")):
        left.unlink(missing_ok=True)
    difference = largest_difference(model, _run_torch(answer), OpenVinoEngine(file).run)
    check_parity(difference, "The OpenVINO model")
    return difference


def _write_example(model: ProteinModel, made: Path) -> None:
    """Put a script beside the graph that predicts with it, and the tokenizer if it takes one."""
    (made / "predict.py").write_text(example(model, "model.onnx"), encoding="utf-8")
    if model.backbone.token_table() is None:
        (made / "tokenizer.json").write_bytes(model.backbone.tokenizer_files["tokenizer.json"])


def _quantize(
    predictor: _AnswerPredictor, plain: Path, about: dict[str, Any], rows: _Rows, force: bool
) -> dict[str, Any]:
    """Replace a graph by its int8 form; return what that costs on the validation rows.

    Raises
    ------
    ExportError
        More than :data:`INT8_LIMIT`, and not `force`.
    """
    task, count = predictor.task, len(rows.sequences)
    metric = task.default_monitor
    before = predictor.measure(rows)[metric]
    quantized = plain.with_name("int8.onnx")
    quantize_int8(plain, quantized, about)
    predictor.engine = OnnxEngine(quantized, "int8")
    after = predictor.measure(rows)[metric]
    drop = before - after if task.mode_of(metric) == "max" else after - before
    if not drop <= INT8_LIMIT and not force:
        raise ExportError(
            f"int8 weights cost {drop:.4f} of {metric} on {count:,} validation rows"
            f" ({before:.4f} -> {after:.4f}).",
            expected=f"at most {INT8_LIMIT:g}",
            fix="export without --quantize, or accept it with --force",
        )
    plain.with_name(plain.name + ".data").unlink(missing_ok=True)
    quantized.replace(plain)
    return {"metric": metric, "before": before, "after": after, "rows": count}


@dataclass(frozen=True)
class _Rows:
    """Validation rows: clean sequences, structure strings of each kind that the model reads, labels."""

    sequences: list[str]
    strings: dict[str, list[str]]
    targets: Values


class _AnswerPredictor(Predictor):
    """Runs a graph that ends in calibrated probabilities, not in logits."""

    def __init__(self, model: ProteinModel, task: Task, engine: Engine) -> None:
        super().__init__(model, engine=engine)
        self.task = task

    def measure(self, rows: _Rows) -> dict[str, float]:
        """Return the metrics of the graph."""
        answers = self._run_all(rows.sequences, rows.strings, None)
        outputs = Values.concat(answers, per_residue=self.task.per_residue)
        return {
            name: float(value) for name, value in compute_metrics(self.task, rows.targets, outputs).items()
        }

    def _run(self, samples: list[Sample]) -> list[NDArray[np.float32]]:
        batch = self.model.collate(samples)
        outputs = self.engine.run(batch)
        if not self.task.per_residue:
            return list(outputs)
        return [output[:length] for output, length in zip(outputs, batch.lengths.tolist(), strict=True)]


def _validation_rows(model: ProteinModel, task: Task, run: Path) -> _Rows:
    """Return a run's validation rows, which its report lists."""
    table, noted = run / "report" / "predictions_validation.csv", run / "data.json"
    if not table.is_file() or not noted.is_file():
        raise ExportError(
            f"{run} has no validation rows, without which nobody knows what int8 costs.",
            expected="a run directory with report/predictions_validation.csv",
            fix="give the run rather than a copy of its model folder, or export without --quantize",
        )
    columns = read_json(noted)["columns"]
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sequences = [row[columns["sequence"]] for row in rows]
    labels = [[row[name] for name in columns["labels"]] for row in rows]
    cells: Any = [row[0] for row in labels] if len(columns["labels"]) == 1 else labels
    lengths = [len(sequence) for sequence in sequences]
    read = np.minimum(np.array(lengths, np.int64), model.max_length)
    structures = model.extra_inputs.structures
    strings = {kind: [row[column] for row in rows] for kind, column in structures.items()}
    return _Rows(sequences, strings, truncated(task.encode(cells, lengths), read))
