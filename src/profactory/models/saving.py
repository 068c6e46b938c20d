"""The folder of a trained model: written whole or not at all, read without executing anything.

::

    config.json           the backbone's own configuration, and a section "profactory"
    model.safetensors     the backbone's weights, unless they are a Hub commit that was not changed
    head.safetensors      pooling and head
    adapter/              the adapter in PEFT's format, for methods that have one
    domain.safetensors    what the training sequences were like; older models and those of few rows lack it
    vocab.txt, …          the tokenizer's files
    *.py                  the code of the backbone's repository, for families that need it; runs if trusted
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from torch import Tensor

from profactory.config.methods import METHODS
from profactory.data.domain import Domain, EmbeddingDomain
from profactory.errors import ModelLoadError
from profactory.files import atomic_dir, sha256_bytes, sha256_file
from profactory.models.adapters import adapter, adapter_state
from profactory.models.backbone import Backbone
from profactory.models.canaries import check_canaries, describe_canaries
from profactory.models.design import Design
from profactory.models.loading import code_fields
from profactory.models.protein_model import ProteinModel
from profactory.models.safetensors_files import read_exactly, read_header
from profactory.models.zoo import ModelSpec, read_config
from profactory.tasks import Calibration, Task

log = logging.getLogger("profactory")

SCHEMA_VERSION = 1
_DOMAIN, _OF_EMBEDDING = "domain.safetensors", "embedding_"
_TRAINED = ("head.safetensors", "adapter/adapter_model.safetensors", _DOMAIN)
VERSION = metadata.version("profactory")
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.bfloat16, torch.float16)
}


def save_model(
    model: ProteinModel, directory: Path, provenance: Mapping[str, Any], *, self_contained: bool = False
) -> Path:
    """Write a model's folder atomically, replacing one that is there.

    Parameters
    ----------
    model
        To save.
    directory
        The folder.
    provenance
        Whatever tells where the model comes from (data, metrics, version); JSON values.
    self_contained
        Store the backbone's weights even where the Hub has them.
    """
    stored = self_contained or _must_store(model)
    with atomic_dir(directory) as folder:
        for name, content in model.backbone.tokenizer_files.items():
            (folder / name).write_bytes(content)
        for name, content in (model.backbone.code["files"] if stored else {}).items():
            (folder / name).write_bytes(content)
        if stored:
            weights = {name: _plain(tensor) for name, tensor in model.backbone.base_weights()}
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        save_file(_plain_all(_head_state(model)), folder / "head.safetensors", metadata={"format": "pt"})
        if model.domain is not None:
            save_numpy(_domain_arrays(model.domain), folder / _DOMAIN)
        if METHODS[model.method].adapter:
            _save_adapter(model.backbone, folder / "adapter")
        section = {**_describe(model, stored, provenance), "sha256": _hashes(folder)}
        text = json.dumps({**_own_config(model.backbone), "profactory": section}, indent=2, allow_nan=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    return directory


def load_model(
    directory: Path,
    *,
    attention: str = "auto",
    trust_remote_code: bool = False,
    backbone: Backbone | None = None,
) -> ProteinModel:
    """Read a model's folder.

    Nothing in the folder is executed or unpickled; names and shapes of all tensors are compared with
    the configuration before any is read.

    Parameters
    ----------
    directory
        The folder.
    attention, trust_remote_code
        See :meth:`profactory.models.backbone.Backbone.load`.
    backbone
        A frozen one that is loaded already, of another model with the same.

    Raises
    ------
    ModelLoadError
        If it is no model of ours, incomplete, damaged, unsafe or written by a newer version.
    """
    section = read_section(directory)
    design, task, spec = read_description(directory)
    _check_hashes(directory, section, code=True)  # before it could run
    try:
        calibration, dtype = (
            Calibration.from_dict(section.get("calibration", {})),
            _DTYPES[str(section["backbone"]["dtype"])],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _incomplete(directory, error) from error
    backbone = backbone or Backbone.load(
        spec, dtype=dtype, attention=attention, trust_remote_code=trust_remote_code, layer=design.layer
    )
    _check_backbone(directory, section["backbone"], backbone)
    model = ProteinModel.assemble(backbone, task, design)
    model.calibration = calibration
    expected = {name: tuple(tensor.shape) for name, tensor in _head_state(model).items()}
    _put(_head_state(model), read_exactly(directory / "head.safetensors", expected))
    if METHODS[model.method].adapter:
        _load_adapter(backbone, directory / "adapter")
    model.domain = _read_domain(directory / _DOMAIN, model.embedding_width)
    _check_hashes(directory, section, code=False)
    _check_answers(model, section, directory)
    return model.eval()


def read_description(directory: Path) -> tuple[Design, Task, ModelSpec]:
    """Read what a saved model is, without loading it: architecture, task, and where its backbone is.

    Raises
    ------
    ModelLoadError
        As :func:`load_model`.
    """
    section = read_section(directory)
    if "ensemble" in section:
        raise ModelLoadError(
            f"{directory} is an ensemble of {len(section['ensemble'])} models.",
            expected="one model",
            fix=f"give one of them: {directory / 'members' / str(section['ensemble'][0])}",
        )
    try:
        spec, _ = _spec_of(directory, section["backbone"])
        return Design.from_dict(section["design"]), Task.from_dict(section["task"]), spec
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _incomplete(directory, error) from error


def _incomplete(directory: Path, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f'The section "profactory" of {directory / "config.json"} cannot be read: {error}',
        expected=f"config.json as it was saved by this ProFactory ({VERSION}) or an earlier one",
        fix="copy the model again, or pip install --upgrade profactory",
    )


def saved_fingerprint(directory: Path) -> str:
    """Return a hash of all that decides what a saved model answers.

    The configuration names the backbone's weights by their hash, so that they need not be read.
    """
    hashes = [sha256_file(directory / "config.json"), *_hashes(directory).values()]
    return sha256_bytes(" ".join(hashes).encode())


def _must_store(model: ProteinModel) -> bool:
    """Whether the weights must be in the folder, because no other place is sure to keep them."""
    return not model.backbone.spec.kept_elsewhere or METHODS[model.method].changes_weights


def _describe(model: ProteinModel, stored: bool, provenance: Mapping[str, Any]) -> dict[str, Any]:
    backbone = model.backbone
    dtype = next(backbone.network.parameters()).dtype
    return {
        "schema_version": SCHEMA_VERSION,
        "version": VERSION,
        "task": model.task.to_dict(),
        "design": model.design.to_dict(),
        "calibration": model.calibration.to_dict(),
        "max_length": model.max_length,
        "family": backbone.family.name,
        "spelling": backbone.family.spelling.to_dict(),
        "backbone": {
            "name": backbone.spec.name,
            "source": "" if stored and backbone.spec.local else backbone.spec.source,
            "revision": backbone.spec.revision,
            "licence": backbone.spec.licence,
            "weights_sha256": backbone.weights_hash(),
            "dtype": str(dtype).removeprefix("torch."),
            "stored": stored,
            **({"code": backbone.code["classes"]} if stored and backbone.family.remote_code else {}),
        },
        "canaries": describe_canaries(model),
        "provenance": dict(provenance),
    }


def _own_config(backbone: Backbone) -> dict[str, Any]:
    """The library's configuration without anything that names code or this machine's folders."""
    config: Any = (
        adapter(backbone).get_base_model().config
        if METHODS[backbone.method].adapter
        else backbone.network.config
    )
    fields = json.loads(config.to_json_string(use_diff=False))
    unwanted = {*code_fields(fields), "_name_or_path", "profactory"}
    kept = {key: value for key, value in fields.items() if key not in unwanted and not key.startswith("_")}
    return {**kept, "architectures": [backbone.family.model_class] if backbone.family.model_class else []}


def read_section(directory: Path) -> dict[str, Any]:
    """Read what we wrote into a model's configuration.

    Raises
    ------
    ModelLoadError
        It is no model of ours, unsafe, or written by a newer version.
    """
    config = read_config(directory, limit=64 << 20)  # thousands of class names are allowed
    section = config.get("profactory")
    if not isinstance(section, dict):
        raise ModelLoadError(
            f'{directory} is not a model trained by ProFactory: config.json has no section "profactory".',
            fix="give the folder RUN/model of a training; a language model is for `profactory train --model`",
        )
    version = section.get("schema_version")
    if type(version) is not int or version > SCHEMA_VERSION:
        raise ModelLoadError(
            f"{directory} was written by ProFactory {section.get('version', '?')} (format {version}); "
            f"this is ProFactory {VERSION}, which reads formats up to {SCHEMA_VERSION}.",
            fix="pip install --upgrade profactory",
        )
    unsafe = code_fields(config)
    if unsafe:
        raise ModelLoadError(
            f"{directory / 'config.json'} names code to run: {', '.join(sorted(unsafe))}.",
            expected="a configuration as ProFactory writes it, which has no such fields",
            fix="do not use this folder unless you know where it comes from",
        )
    return section


def _spec_of(directory: Path, section: Mapping[str, Any]) -> tuple[ModelSpec, torch.dtype]:
    stored = section["stored"]
    if type(stored) is not bool:
        raise ValueError("backbone.stored is neither true nor false")
    revision = section["revision"]
    spec = ModelSpec(
        name=str(section["name"]),
        source=str(directory) if stored else str(section["source"]),
        revision=None if revision is None else str(revision),
        licence=str(section["licence"]),
    )
    if not stored and not spec.pinned:
        raise ValueError("the backbone's weights are neither stored nor a commit of the Hub")
    return spec, _DTYPES[str(section["dtype"])]


def _check_backbone(directory: Path, section: Mapping[str, Any], backbone: Backbone) -> None:
    """The backbone, stored or referenced, must be the one that the head was trained on."""
    if backbone.weights_hash() != section["weights_sha256"]:
        raise ModelLoadError(
            f"The weights of {backbone.spec.source} are not those that {directory} was trained with.",
            expected=f"SHA-256 {section['weights_sha256']}",
            fix="copy it again" if section["stored"] else "remove it from the Hub's cache and load again",
        )


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of code and of what was trained; the backbone has a hash of its own."""
    code = sorted(file.name for file in folder.glob("*.py"))
    return {name: sha256_file(folder / name) for name in (*_TRAINED, *code) if (folder / name).is_file()}


def _check_hashes(directory: Path, section: Mapping[str, Any], *, code: bool) -> None:
    """Refuse code, or numbers, not as they were saved; models from before hashes were kept have none."""
    for name, digest in dict(section.get("sha256", {})).items():
        file = directory / name
        meant = name == file.name and file.suffix == ".py" if code else name in _TRAINED
        if meant and file.is_file() and sha256_file(file) != digest:
            raise ModelLoadError(
                f"{file} is not as it was saved.", expected=f"SHA-256 {digest}", fix="copy it again"
            )


def _check_answers(model: ProteinModel, section: Mapping[str, Any], directory: Path) -> None:
    """Compare the model's answers with those that it was saved with, if it carries any."""
    if "canaries" not in section:
        log.info("%s carries no canary sequences; that it answers as it did cannot be checked.", directory)
        return
    try:
        check_canaries(model, section["canaries"], str(directory))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelLoadError(
            f"The canaries in {directory / 'config.json'} cannot be used: {error}",
            expected="config.json as it was saved",
        ) from error


def _head_state(model: ProteinModel) -> dict[str, Tensor]:
    """Pooling, head and scale of the outputs, not copied."""
    return {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if not name.startswith("backbone.")
    }


def _domain_arrays(domain: Domain) -> dict[str, NDArray[Any]]:
    arrays = {name: getattr(domain, name) for name in Domain.SHAPES}
    if domain.embedding is None:
        return arrays
    return arrays | {_OF_EMBEDDING + name: array for name, array in vars(domain.embedding).items()}


def _read_domain(file: Path, width: int) -> Domain | None:
    """Read what is known of the training sequences; older models know nothing of their embeddings."""
    if not file.is_file():
        return None
    of_embedding = {_OF_EMBEDDING + name: shape for name, shape in EmbeddingDomain.shapes(width).items()}
    known = bool(of_embedding.keys() & read_header(file).keys())
    tensors = read_exactly(file, {**Domain.SHAPES, **(of_embedding if known else {})})
    arrays = {name: tensors[name].double().numpy() for name in Domain.SHAPES}
    own = {name.removeprefix(_OF_EMBEDDING): tensors[name].numpy() for name in of_embedding if known}
    return Domain(**arrays, embedding=EmbeddingDomain(**own) if known else None)


def _put(own: Mapping[str, Tensor], read: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(read[name])


def _save_adapter(backbone: Backbone, folder: Path) -> None:
    network = adapter(backbone)
    folder.mkdir()
    tensors = _plain_all(adapter_state(backbone))
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    fields = network.peft_config["default"].to_dict()
    fields |= {
        name: sorted(fields[name]) for name in ("target_modules", "feedforward_modules") if name in fields
    }
    fields |= {
        "inference_mode": True,
        # AdaLoRA's masked ranks are zeros in the tensors, none of which is left out.
        **({"rank_pattern": None} if backbone.method == "adalora" else {}),
        "base_model_name_or_path": "" if backbone.spec.local else backbone.spec.source,
        "revision": backbone.spec.revision,
    }
    text = json.dumps(fields, indent=2, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")


def _load_adapter(backbone: Backbone, folder: Path) -> None:
    """Read an adapter's tensors; its shape comes from our own section, not from adapter_config.json."""
    from peft import set_peft_model_state_dict

    network = adapter(backbone)
    expected = {name: tuple(tensor.shape) for name, tensor in adapter_state(backbone).items()}
    set_peft_model_state_dict(network, read_exactly(folder / "adapter_model.safetensors", expected))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _plain_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _plain(tensor) for name, tensor in tensors.items()}
