"""Memory, processor, and folders that must be writable."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from profactory.doctor.finding import ABSENT, BROKEN, GIB, OK, Finding, gib
from profactory.files import cache_dir

LEAST_MEMORY, LEAST_DISK = 2 * GIB, 2 * GIB


def memory() -> Iterator[Finding]:
    """Check how much memory there is, the limit of a container included."""
    import psutil

    system = psutil.virtual_memory()
    limit = _container_memory()
    total = min(system.total, limit) if limit else system.total
    free = free_memory()
    detail = f"{gib(free)} free of {gib(total)}" + (
        " (limit of the container)" if total < system.total else ""
    )
    if free < LEAST_MEMORY:
        fix = "close other programs; train with --method freeze and a smaller --tokens-per-batch"
        yield Finding("memory", BROKEN, detail, fix)
    else:
        yield Finding("memory", OK, detail)


def free_memory() -> int:
    """Return the bytes of memory that are free, at most what a container allows."""
    import psutil

    return min(psutil.virtual_memory().available, _container_memory() or sys.maxsize)


def processor() -> Iterator[Finding]:
    """Tell the number of cores and what they can compute in hardware."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{psutil.cpu_count(logical=False) or usable} cores, {usable} usable threads"
    threads = os.environ.get("OMP_NUM_THREADS")
    yield Finding("processor", OK, detail + (f", OMP_NUM_THREADS={threads}" if threads else ""))
    features = _processor_features()
    fast = [name for name in ("avx512_bf16", "amx_bf16", "amx_int8", "bf16") if name in features]
    if fast:
        yield Finding(
            "bf16", OK, f"in hardware ({', '.join(fast)}): training takes it for all but frozen models"
        )
    else:
        yield Finding("bf16", ABSENT, "not in hardware: fp32 is the right precision on this processor")


def cache_folder() -> Iterator[Finding]:
    """Check that the cache folder can be written and has room."""
    yield _folder("cache folder", cache_dir(), "set PROFACTORY_CACHE to a folder on a disk with room")


def working_folder() -> Iterator[Finding]:
    """Check that runs can be written where the user stands."""
    yield _folder("this folder", Path.cwd(), "go to a folder of yours on a disk with room, or type --out")


def _folder(name: str, folder: Path, fix: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(name, BROKEN, f"{folder} cannot be written: {error.strerror}", fix)
    state = BROKEN if free < LEAST_DISK else OK
    return Finding(name, state, f"{folder}, {gib(free)} free", fix if state == BROKEN else "")


def _container_memory() -> int | None:
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        file = Path(place)
        if file.is_file() and (text := file.read_text(encoding="ascii").strip()).isdigit():
            return int(text)
    return None


def _processor_features() -> set[str]:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", table.read_text(encoding="utf-8"), re.MULTILINE)
        return set(found[1].split()) if found else set()
    return {"bf16"} if platform.system() == "Darwin" and platform.machine() == "arm64" else set()
