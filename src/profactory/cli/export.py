"""``profactory export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG, OUTPUT, Json, Overwrite


def export(
    run: Path,
    /,
    *,
    format: Literal["onnx", "openvino", "merged", "zip"],
    out: Annotated[Path, Parameter(group=OUTPUT)],
    quantize: Literal["int8"] | None = None,
    force: Annotated[bool, FLAG] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a trained model in another form, compared with the original.

    onnx and openvino take any batch size and length and run without
    ProFactory; predict.py beside model.onnx shows how. merged is a model
    folder with the adapter in the weights. zip is the model in one file that
    predict takes on another machine.

    Example: profactory export runs/proteins-mini-lora --format onnx --out exported
             profactory export runs/proteins-mini-lora --format zip --out model.zip

    Parameters
    ----------
    run
        The run directory, or its model folder.
    format
        onnx, openvino, merged or zip.
    out
        Folder to write; for zip the file.
    quantize
        int8: weights as 8-bit integers (onnx). Refused if that costs more
        than 0.01 of the metric on the validation rows.
    force
        Accept whatever int8 costs.
    overwrite
        Replace what is at --out.
    json
        Print the result as JSON.
    """
    from profactory import api

    report = api.export(run, out, format=format, quantize=quantize, force=force, overwrite=overwrite)
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())
