"""Files over HTTP: a short list of what may leave, and nothing that a link points to outside."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from profactory.errors import RunError
from profactory.web.workspace import Workspace, is_inside

OF_RUNS = re.compile(
    r"config\.yaml|log\.txt|events\.jsonl|data\.json|environment\.json|rejected_rows\.csv|splits\.csv|model/README\.md|"
    r"report/[\w.-]+\.(?:json|csv|png|html)"
)
OF_RESULTS = re.compile(
    r"[0-9a-f]{16}/(?:\w[\w.-]*/)?[\w.-]+\.(?:json|csv|tsv|parquet|jsonl|png|html|zip|onnx|xml|bin|safetensors|txt|py|md)"
)
OF_STRUCTURES = re.compile(r"[0-9a-f]{16}/(?:chain-\d{1,6}\.pdb|structures\.csv)")
VIEWER = Path(__file__).with_name("vendor") / "3Dmol-min.js"
#: A report shown in the browser may run nothing and fetch nothing.
SEALED = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def offer_runs(workspace: Workspace) -> Callable[[Request], Response]:
    """Return the endpoint ``/files/{run}/{path}``: files of a run."""

    def endpoint(request: Request) -> Response:
        name, place = request.path_params["run"], request.path_params["path"]
        try:
            run = workspace.open_run(name)
        except RunError:
            return _nothing()
        return _offered(run.path, place, OF_RUNS, name=f"{name}-{Path(place).name}")

    return endpoint


def offer_results(workspace: Workspace) -> Callable[[Request], Response]:
    """Return the endpoint ``/results/{path}``: what jobs wrote."""

    def endpoint(request: Request) -> Response:
        place = request.path_params["path"]
        return _offered(workspace.results, place, OF_RESULTS, name=Path(place).name)

    return endpoint


def offer_structures(workspace: Workspace) -> Callable[[Request], Response]:
    """Return the endpoint ``/structures/{path}``: strings and backbones of structures that were looked at."""

    def endpoint(request: Request) -> Response:
        place = request.path_params["path"]
        return _offered(workspace.uploads, place, OF_STRUCTURES, name=Path(place).name)

    return endpoint


def offer_viewer(_: Request) -> Response:
    """Answer with the program that draws structures; it comes with the page, not from elsewhere."""
    return FileResponse(VIEWER, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})


def _offered(folder: Path, place: str, pattern: re.Pattern[str], *, name: str) -> Response:
    file = folder / place
    if not pattern.fullmatch(place) or not is_inside(file, folder) or not file.is_file():
        return _nothing()
    headers = {"Content-Security-Policy": SEALED, "Cache-Control": "no-store"}
    kind = "inline" if file.suffix in (".html", ".png") else "attachment"
    return FileResponse(file, filename=name, content_disposition_type=kind, headers=headers)


def _nothing() -> Response:
    return PlainTextResponse("Not Found", 404)
