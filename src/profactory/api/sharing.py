"""A trained model in other forms and other places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from profactory.api.places import model_path

if TYPE_CHECKING:
    from profactory.inference.export.report import ExportReport


def export(
    run: str | Path,
    out: str | Path,
    *,
    format: str,
    quantize: str | None = None,
    force: bool = False,
    overwrite: bool = False,
) -> ExportReport:
    """Write a trained model in another form, compared with the original.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    out
        Folder to write; for ``zip`` the file.
    format
        ``onnx``, ``openvino``, ``merged`` (a model folder with the adapter in the weights) or ``zip`` (the
        model in one file, which :func:`load` and :func:`predict` take).
    quantize
        ``int8``: weights as 8-bit integers, for ``onnx``.
    force
        Accept whatever int8 costs on the validation rows.
    overwrite
        Replace what is at `out`.

    Raises
    ------
    ExportError
        What was exported does not answer as the model does, or int8 costs too much.
    MissingExtraError
        A package for the format is not installed.
    """
    folder, target = model_path(run), Path(out)
    if format == "zip":
        from profactory.inference.export.report import ExportReport
        from profactory.sharing.bundle import write_bundle
        from profactory.sharing.model_card import facts_of

        backbone = facts_of(folder)["backbone"]
        source = "" if backbone["stored"] else f"{backbone['source']} at {backbone['revision']}"
        return ExportReport(write_bundle(folder, target, overwrite=overwrite), format, backbone=source)
    from profactory.pipeline.export import export_model

    return export_model(folder, target, format=format, quantize=quantize, force=force, overwrite=overwrite)


def push(run: str | Path, repository: str, *, private: bool = False) -> str:
    """Share a trained model on the Hugging Face Hub, with its card.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    repository
        ``user/name``; made if it does not exist.
    private
        Make it for your eyes only.

    Returns
    -------
    str
        Address of the commit. :func:`load` takes ``"user/name"``.
    """
    from profactory.sharing.hub import push_model

    folder = model_path(run)
    of_run = (folder.parent / "data.json").is_file()
    return push_model(folder, folder.parent if of_run else None, repository, private=private)
