"""Whether the Hugging Face Hub, or the mirror that is set, can be reached."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator

from profactory.doctor.finding import ABSENT, BROKEN, OK, Finding

HUB_SECONDS = 3.0


def hub() -> Iterator[Finding]:
    """Tell whether models can be fetched from the Hugging Face Hub; working offline is fine."""
    offline = next((v for v in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_set(v)), None)
    if offline:
        yield Finding(
            "Hub", ABSENT, f"switched off by {offline}; models on this machine work", f"unset {offline}"
        )
        return
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if not address.startswith(("https://", "http://")):
        yield Finding("Hub", BROKEN, f"HF_ENDPOINT={address!r} is no web address", "unset HF_ENDPOINT")
        return
    try:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the scheme was checked
        with urllib.request.urlopen(request, timeout=HUB_SECONDS):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        yield Finding("Hub", OK, f"{address} answers ({error.code})")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield Finding("Hub", ABSENT, f"{address} cannot be reached ({reason}); bundled and local models work")
    else:
        yield Finding("Hub", OK, f"{address} answers")


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")
