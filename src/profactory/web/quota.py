"""How much each visitor may upload in a day, so that nobody fills the disk by accident."""

from __future__ import annotations

import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive

COOKIE = "profactory_visitor"
DAY = 24 * 3600.0
MOST_VISITORS = 10_000
_NAME = re.compile(r"[\w-]{22}")
_UPLOAD = re.compile(r"/gradio_api/upload/?\Z")


@dataclass
class Quota:
    """Bytes that were uploaded, by visitor: a browser, told by its cookie, else an address.

    Parameters
    ----------
    limit
        Bytes for one visitor in a day.
    clock
        Tells seconds.
    """

    limit: int
    clock: Callable[[], float] = time.monotonic
    _used: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict)

    def used(self, visitor: str) -> int:
        """Return the bytes of the visitor's present day, which begins with the first upload."""
        began, count = self._used.get(visitor, (0.0, 0))
        return count if self.clock() - began < DAY else 0

    def add(self, visitor: str, count: int) -> None:
        """Note bytes that arrived."""
        used = self.used(visitor)
        began = self._used[visitor][0] if used else self.clock()
        self._used[visitor] = (began, used + count)
        self._used.move_to_end(visitor)
        while len(self._used) > MOST_VISITORS:
            self._used.popitem(last=False)

    def refusal(self, request: Request) -> Response | None:
        """Refuse an upload for which there is no room; None for everything else."""
        if not is_upload(request):
            return None
        length = request.headers.get("content-length", "")
        announced = int(length) if length.isdigit() else 0
        if self.used(visitor_of(request)) + announced <= self.limit:
            return None
        megabytes = self.limit >> 20
        return PlainTextResponse(f"One browser may upload {megabytes:,} MB in a day; this is more.", 413)

    def counting(self, request: Request) -> Receive:
        """Return the request's body as it comes, each part counted."""
        visitor = visitor_of(request)

        async def receive() -> Message:
            message = await request.receive()
            self.add(visitor, len(message.get("body", b"")))
            return message

        return receive


def is_upload(request: Request) -> bool:
    """Whether a request brings a file."""
    return request.method == "POST" and _UPLOAD.search(request.url.path) is not None


def visitor_of(request: Request) -> str:
    """Return what tells one visitor from another."""
    name = request.cookies.get(COOKIE, "")
    address = request.client.host if request.client else ""
    return name if _NAME.fullmatch(name) else address


def new_visitor() -> str:
    """Return a name for a browser that has none."""
    return secrets.token_urlsafe(16)
