"""``profactory ui``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG

SERVER = Group("Server", sort_key=2)


def ui(
    *,
    runs: Path = Path("runs"),
    data: Path = Path("data"),
    host: Annotated[str, Parameter(group=SERVER)] = "127.0.0.1",
    port: Annotated[int, Parameter(group=SERVER)] = 7860,
    token: Annotated[str | None, Parameter(group=SERVER)] = None,
    root_path: Annotated[str, Parameter(group=SERVER)] = "",
    upload_megabytes: Annotated[int, Parameter(group=SERVER)] = 200,
    browser: Annotated[bool, FLAG] = False,
) -> None:
    """Open the web page: train, watch, evaluate and predict without typing.

    Work that is started on the page goes on when the page, or this command,
    is closed. The page can be reached from this machine only, unless --host
    says otherwise; visitors then need the token that is printed.

    Example: profactory ui
             profactory ui --host 0.0.0.0 --port 8000 --runs /data/runs

    Parameters
    ----------
    runs
        Folder of the runs that the page shows and makes.
    data
        Folder of tables that can be chosen on the page.
    host
        Address to listen at.
    port
        Port to listen at; 0 takes a free one.
    token
        What visitors must show; made and printed if not given, not needed on 127.0.0.1.
    root_path
        Path under which a reverse proxy serves the page, such as /profactory.
    upload_megabytes
        Largest file that may be uploaded.
    browser
        Open the page in the browser.
    """
    from profactory.web.server import serve
    from profactory.web.workspace import Workspace

    serve(
        Workspace(runs, data),
        host=host,
        port=port,
        token=token,
        prefix=root_path,
        upload_megabytes=upload_megabytes,
        open_browser=browser,
        say=lambda address: terminal.say(f"The page is at {address}", "Ctrl-C ends it; runs go on."),
    )
