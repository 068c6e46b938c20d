"""Going on from the model of an earlier run: architecture, adapters and head are its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from profactory.config import TrainConfig
from profactory.config.model import ModelSettings
from profactory.errors import ConfigError, NotARunError
from profactory.models.design import Design
from profactory.models.protein_model import ProteinModel
from profactory.models.saving import read_description, saved_fingerprint
from profactory.models.zoo import ModelSpec, describe_folder
from profactory.runs import Run
from profactory.tasks import Calibration, Task

#: Settings of the model that do not change what it is.
FREE = ("init", "trust_remote_code", "gradient_checkpointing")


@dataclass(frozen=True)
class Initial:
    """A trained model to go on with.

    Parameters
    ----------
    folder
        Where it is saved.
    design, task, spec
        As it was saved.
    """

    folder: Path
    design: Design
    task: Task
    spec: ModelSpec

    @property
    def fingerprint(self) -> str:
        """Which model it is: a resumed run must begin from the same."""
        return saved_fingerprint(self.folder)

    @property
    def structures(self) -> Mapping[str, str]:
        """The structure strings that it reads, and their columns."""
        return self.design.structures

    def settings(self, config: TrainConfig) -> TrainConfig:
        """Return the configuration as if the model's own settings had been typed."""
        design = self.design
        own = {
            "model": self.spec.name,
            "method": design.method,
            "pooling": design.pooling,
            "layer": design.layer,
            "max_length": design.max_length,
            "dropout": design.dropout,
            "head_hidden": design.head_hidden,
            "features": list(design.descriptors) or None,
            "lora_rank": design.tuning.rank,
        }
        return config.model_copy(update=own)

    def load(self, *, trust_remote_code: bool = False) -> ProteinModel:
        """Return the model, ready to be trained further; how sure it is, on what data, is found out anew."""
        model = ProteinModel.load(self.folder, trust_remote_code=trust_remote_code)
        model.calibration, model.domain = Calibration(), None
        return model


def find_initial(config: TrainConfig) -> Initial | None:
    """Find the model that ``--init`` names; None if nothing was said.

    Raises
    ------
    ConfigError
        Settings of the model were given too, or a task of another kind.
    NotARunError, ModelLoadError
        There is no finished model.
    """
    if config.init is None:
        return None
    folder = _folder(Path(config.init).expanduser())
    design, task, spec = read_description(folder)
    own = {*ModelSettings.model_fields, "label_transform"} - set(FREE)
    clashing = [name for name in config.given if name in own]
    if clashing:
        raise ConfigError(
            f"init brings the whole model, and {', '.join(clashing)} cannot be given beside it.",
            expected=f"{design.method} on {spec.name}, as it was trained",
            fix="leave them out, or train anew without --init",
        )
    if config.task is not None and config.task != task.kind:
        raise ConfigError(
            f"The model of {config.init} was trained for {task.kind}, not for {config.task}.",
            fix="leave --task out, or train anew without --init",
        )
    described = replace(describe_folder(folder), name=spec.name, max_length=design.max_length)
    return Initial(folder, design, task, described)


def _folder(path: Path) -> Path:
    if (path / "config.json").is_file():
        return path.absolute()
    run = Run.open(path)
    if not (run.model_dir / "config.json").is_file():
        raise NotARunError(
            f"The run {path} has no finished model to go on with.", fix=f"profactory resume {path}"
        )
    return run.model_dir.absolute()
