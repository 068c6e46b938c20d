"""Which engine computes: the one that was named, or the fastest of those that give the same answers."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from profactory.errors import ConfigError, ExportError, MissingExtraError
from profactory.files import atomic_dir, atomic_write_json, cache_dir, read_json, sha256_bytes
from profactory.inference.engines import Engine
from profactory.inference.engines.torch_engine import TorchEngine, choose_device, native_bf16
from profactory.inference.export.parity import differences
from profactory.models.canaries import SEQUENCES

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

ENGINES = ("auto", "torch", "openvino", "onnx")
#: Largest difference from torch in fp32 on the canary sequences: of a probability, or of a value in units of
#: the labels' spread. An engine beyond it is not used.
TOLERANCES = {"fp32": 1e-4, "bf16": 0.02, "int8": 0.05}
#: Rows from which it is worth while to find out which engine is the fastest.
WORTH_MEASURING = 2000
_MEASURED_SEQUENCES, _MEASURED_RESIDUES, _REPEATS = 8, 128, 2

log = logging.getLogger("profactory")


def make_engine(
    model: ProteinModel,
    name: str = "torch",
    *,
    device: str = "auto",
    precision: str = "fp32",
    fingerprint: str = "",
    rows: int = 0,
) -> Engine:
    """Return what computes.

    Parameters
    ----------
    model
        The model, its adapter merged.
    name
        ``torch``, ``openvino``, ``onnx``, or ``auto``: torch for little work and on graphics cards, otherwise
        the fastest on this machine, which is measured once and remembered.
    device
        See :class:`TorchEngine`; the other engines compute on the processor.
    precision
        ``fp32``, ``bf16``, ``int8`` (onnx), ``fp16`` (torch on a GPU); with ``auto`` also ``auto``: all that
        the processor computes natively.
    fingerprint
        Names the model's content in the cache.
    rows
        Sequences to predict.

    Raises
    ------
    ConfigError
        The engine is unknown, does not go with the device or the precision, or gives other answers.
    MissingExtraError
        Its package is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"No engine is called {name!r}.", expected=", ".join(ENGINES))
    on_processor = choose_device(device).type == "cpu"
    only_torch = not on_processor or bool(model.extra_inputs)
    if name == "torch" or (name == "auto" and (only_torch or rows < WORTH_MEASURING)):
        return TorchEngine(model, device, "fp32" if precision == "auto" else precision)
    if only_torch:
        raise ConfigError(
            f"The engine {name} computes models of sequences alone, on the processor.",
            fix="--device cpu, or --engine torch",
        )
    model = model.to("cpu").eval()
    if name == "auto":
        return _fastest(model, precision, fingerprint)
    engine = _build(model, name, precision, fingerprint)
    difference = difference_from_torch(model, engine)
    if not difference <= TOLERANCES[precision]:
        raise ConfigError(
            f"{engine.describe()} answers otherwise than torch: outputs of the canary sequences differ by up"
            f" to {difference:.2g}.",
            expected=f"at most {TOLERANCES[precision]:g}",
            fix="--engine torch",
        )
    return engine


def difference_from_torch(model: ProteinModel, engine: Engine) -> float:
    """Return the largest difference from torch in fp32 on the canary sequences; see TOLERANCES."""
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES, model.max_length))
    wanted, found = (
        model.task.probabilities(runner.run(batch)) for runner in (TorchEngine(model, "cpu"), engine)
    )
    difference = differences(model, found, wanted)
    if model.task.per_residue:
        difference = difference[np.arange(difference.shape[1]) < batch.lengths.numpy()[:, None]]
    return float(difference.max())


def _build(model: ProteinModel, name: str, precision: str, fingerprint: str) -> Engine:
    """Make one engine, with the graph that it needs from the cache."""
    possible = {"torch": ("fp32", "bf16"), "openvino": ("fp32", "bf16"), "onnx": ("fp32", "int8")}[name]
    if precision not in possible:
        raise ConfigError(f"The engine {name} has no precision {precision}.", expected=", ".join(possible))
    if name == "torch":
        return TorchEngine(model, "cpu", precision)
    if name == "openvino":
        from profactory.inference.engines.openvino_engine import OpenVinoEngine, openvino

        openvino()  # a missing package is named before the graph is made
        return OpenVinoEngine(_graph(model, "fp32", fingerprint), precision)
    from profactory.inference.engines.onnx_engine import OnnxEngine

    return OnnxEngine(_graph(model, precision, fingerprint), precision)


def _graph(model: ProteinModel, precision: str, fingerprint: str) -> Path:
    """Return the model's graph, made once and kept in the cache."""
    from profactory.inference.export.graph import Embedded, require_onnx, write_onnx
    from profactory.inference.export.quantizing import quantize_int8

    require_onnx()
    folder = _cache(fingerprint) / f"onnx-{precision}"
    if not (folder / "model.onnx").is_file():
        log.info("Writing the model as an ONNX graph (%s); this is done once.", precision)
        plain = None if precision == "fp32" else _graph(model, "fp32", fingerprint)
        with atomic_dir(folder) as made:
            if plain is None:
                knowing = model.domain is not None and model.domain.embedding is not None
                write_onnx(Embedded(model) if knowing else model, model, made / "model.onnx", {})
            else:
                quantize_int8(plain, made / "model.onnx", {})
    return folder / "model.onnx"


def _fastest(model: ProteinModel, precision: str, fingerprint: str) -> Engine:
    """Return the engine that was the fastest here, measuring if that is not known."""
    note = _cache(fingerprint) / f"fastest-{precision}-{_machine()}.json"
    if note.is_file():
        known = read_json(note)
        return _build(model, known["engine"], known["precision"], fingerprint)
    built: dict[str, tuple[str, Engine]] = {}
    seconds: dict[str, float] = {}
    for name, one in _candidates(precision):
        engine = _usable(model, name, one, fingerprint)
        if engine is not None:
            built[engine.describe()] = (name, engine)
            seconds[engine.describe()] = _measure(model, engine)
    best = min(seconds, key=lambda described: seconds[described])
    name, engine = built[best]
    log.info(
        "Fastest engine here: %s",
        "; ".join(
            f"{what} {1000 * time:.0f} ms" for what, time in sorted(seconds.items(), key=lambda i: i[1])
        ),
    )
    atomic_write_json(note, {"engine": name, "precision": engine.precision, "seconds": seconds})
    return engine


def _candidates(precision: str) -> list[tuple[str, str]]:
    precisions = ["fp32", *(["bf16"] if native_bf16() else [])] if precision == "auto" else [precision]
    pairs = {"fp32": ("torch", "openvino", "onnx"), "bf16": ("torch", "openvino"), "int8": ("onnx",)}
    found = [(name, one) for one in precisions for name in pairs.get(one, ())]
    if not found:
        raise ConfigError(f"No engine has the precision {precision} on a processor.", fix="--precision fp32")
    return found


def _usable(model: ProteinModel, name: str, precision: str, fingerprint: str) -> Engine | None:
    """Return an engine, or None if it cannot be had or gives other answers, which is said."""
    try:
        engine = _build(model, name, precision, fingerprint)
    except (MissingExtraError, ExportError) as error:
        log.info("The engine %s is left out: %s", name, error.found)
        return None
    difference = difference_from_torch(model, engine)
    if difference <= TOLERANCES[precision]:
        return engine
    log.warning("%s is left out: its answers differ by up to %.2g.", engine.describe(), difference)
    return None


def _measure(model: ProteinModel, engine: Engine) -> float:
    """Return the seconds for one batch, the best of some."""
    length = min(_MEASURED_RESIDUES, model.max_length)
    sequences = [("".join(SEQUENCES) * 2)[start : start + length] for start in range(_MEASURED_SEQUENCES)]
    batch = model.backbone.collate(model.backbone.tokenize(sequences, model.max_length))
    engine.run(batch)  # the first run prepares
    return min(_timed(lambda: engine.run(batch)) for _ in range(_REPEATS))


def _timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _cache(fingerprint: str) -> Path:
    if not fingerprint:
        raise ConfigError("Only a saved model has other engines than torch.", fix="save it, then load it")
    return cache_dir() / "engines" / fingerprint[:32]


def _machine() -> str:
    """Name all of this machine that decides which engine is the fastest."""
    versions = [f"{name} {_version(name)}" for name in ("torch", "onnxruntime", "openvino")]
    facts = [platform.machine(), _processor(), str(torch.get_num_threads()), *versions]
    return sha256_bytes("|".join(facts).encode())[:16]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())
