"""Manifests that know when they were changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from profactory.files import sha256_bytes


def seal(content: Mapping[str, Any]) -> bytes:
    """Serialise a manifest with its own checksum, in the one form that :func:`unseal` accepts."""
    body = json.dumps(content, sort_keys=True, allow_nan=False)
    sealed = {**content, "sha256": sha256_bytes(body.encode())}
    return json.dumps(sealed, sort_keys=True, indent=1).encode()


def unseal(raw: bytes) -> dict[str, Any]:
    """Return what was sealed.

    Raises
    ------
    ValueError
        A single bit is not as it was written.
    """
    content = json.loads(raw)
    if not isinstance(content, dict):
        raise ValueError("it is no manifest")
    content.pop("sha256", None)
    if seal(content) != raw:
        raise ValueError("it was changed after it was written")
    return content
