"""A trained model in another form: exported, compared with the original, and then kept."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.errors import ConfigError, ExportError, RunExistsError
from profactory.evaluation.metrics import compute_metrics
from profactory.files import atomic_dir, read_json
from profactory.inference.engines.onnx_engine import OnnxEngine
from profactory.inference.engines.openvino_engine import OpenVinoEngine, openvino
from profactory.inference.engines.torch_engine import TorchEngine
from profactory.inference.export.about import describe, example
from profactory.inference.export.graph import METADATA, Answer, require_onnx, write_onnx
from profactory.inference.export.parity import check_parity, largest_difference
from profactory.inference.export.quantizing import quantize_int8
from profactory.inference.export.report import ExportReport
from profactory.inference.novelty import Predicted
from profactory.inference.predictor import Predictor
from profactory.models.ensembles import is_ensemble
from profactory.models.extra_inputs import Sample
from profactory.models.protein_model import ProteinModel
from profactory.tasks import Values
from profactory.training.sources import truncated

if TYPE_CHECKING:
    from profactory.models.backbone import TokenBatch

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
    model = ProteinModel.load(folder).merge()
    provenance = read_json(folder / "config.json")["profactory"]["provenance"]
    if format == "merged":
        return _merged(model, folder, out, provenance)
    if model.extra_inputs:
        raise ConfigError(
            "The model reads more than the sequence, which an exported graph does not.",
            expected="a model of sequences alone",
            fix="--format merged or zip",
        )
    rows = _validation_rows(model, folder.parent) if quantize else None
    about = describe(model, provenance)
    answer = Answer(model).eval()
    with atomic_dir(out) as made:
        plain = made / "model.onnx"
        write_onnx(answer, model, plain, about)
        difference = largest_difference(model, _run_torch(answer), OnnxEngine(plain).run)
        check_parity(difference, "The ONNX graph")
        about = {**about, "largest_difference": difference}
        quantized = {} if rows is None else _quantize(model, plain, about, rows, force)
        about |= {"int8": quantized} if quantized else {}
        if format == "openvino":
            difference = _to_openvino(model, answer, plain, about)
        else:
            _write_example(model, made)
        (made / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return ExportReport(out, format, difference, quantized)


def _check_request(folder: Path, out: Path, format: str, quantize: str | None, overwrite: bool) -> None:
    """Refuse what cannot be before the model is loaded."""
    if format not in ("onnx", "openvino", "merged"):
        raise ConfigError(f"No format is called {format!r}.", expected="onnx, openvino, merged or zip")
    if quantize not in (None, "int8"):
        raise ConfigError(f"Weights cannot be quantised to {quantize!r}.", expected="int8")
    if quantize and format != "onnx":
        raise ConfigError(f"int8 weights are for the format onnx, not for {format}.", fix="--format onnx")
    if is_ensemble(folder):
        raise ConfigError(
            f"{folder} is an ensemble of several models.",
            expected="one model",
            fix=f"export one of {folder / 'members'}, or all of them together with --format zip",
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
            outputs = answer(batch.input_ids, batch.attention_mask, batch.lengths)
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
    model: ProteinModel, plain: Path, about: dict[str, Any], rows: tuple[list[str], Values], force: bool
) -> dict[str, Any]:
    """Replace a graph by its int8 form; return what that costs on the validation rows.

    Raises
    ------
    ExportError
        More than :data:`INT8_LIMIT`, and not `force`.
    """
    sequences, targets = rows
    metric = model.task.default_monitor
    before = _measure(model, sequences, targets, metric, OnnxEngine(plain))
    quantized = plain.with_name("int8.onnx")
    quantize_int8(plain, quantized, about)
    after = _measure(model, sequences, targets, metric, OnnxEngine(quantized, "int8"))
    drop = before - after if model.task.mode_of(metric) == "max" else after - before
    if not drop <= INT8_LIMIT and not force:
        raise ExportError(
            f"int8 weights cost {drop:.4f} of {metric} on {len(sequences):,} validation rows"
            f" ({before:.4f} -> {after:.4f}).",
            expected=f"at most {INT8_LIMIT:g}",
            fix="export without --quantize, or accept it with --force",
        )
    plain.with_name(plain.name + ".data").unlink(missing_ok=True)
    quantized.replace(plain)
    return {"metric": metric, "before": before, "after": after, "rows": len(sequences)}


def _measure(
    model: ProteinModel, sequences: list[str], targets: Values, metric: str, engine: OnnxEngine
) -> float:
    """Return a metric of an exported graph, whose outputs are answers already."""
    predictor = _AnswerPredictor(model, engine=engine)
    return float(compute_metrics(model.task, targets, predictor.predict_outputs(sequences))[metric])


class _AnswerPredictor(Predictor):
    """Runs a graph that ends in calibrated probabilities, not in logits."""

    def _run(self, samples: list[Sample]) -> list[NDArray[np.float32]]:
        batch = self.model.collate(samples)
        outputs = self.engine.run(batch)
        if not self.task.per_residue:
            return list(outputs)
        return [output[:length] for output, length in zip(outputs, batch.lengths.tolist(), strict=True)]

    def predict_outputs(self, sequences: Any, progress: Any = None, strings: Any = None) -> Predicted:
        """Predict without calibrating a second time."""
        rows = Values.concat(self._run_all(sequences, {}, progress), per_residue=self.task.per_residue)
        return Predicted(rows.values, rows.offsets)


def _validation_rows(model: ProteinModel, run: Path) -> tuple[list[str], Values]:
    """Return the sequences and labels of a run's validation rows, which its report lists."""
    table, noted = run / "report" / "predictions_validation.csv", run / "data.json"
    if not table.is_file() or not noted.is_file():
        raise ExportError(
            f"{run} has no validation rows, without which nobody knows what int8 costs.",
            expected="a run directory with report/predictions_validation.csv",
            fix="give the run rather than a copy of its model folder",
        )
    columns = read_json(noted)["columns"]
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    sequences = [row[columns["sequence"]] for row in rows]
    labels = [[row[name] for name in columns["labels"]] for row in rows]
    cells: Any = [row[0] for row in labels] if len(columns["labels"]) == 1 else labels
    lengths = [len(sequence) for sequence in sequences]
    targets = model.task.encode(cells, lengths)
    read = np.minimum(np.array(lengths, np.int64), model.max_length)
    return sequences, truncated(targets, read)
