"""Is this machine fit for the work? One finding per line: ✓ fine, ⊘ does not apply, ✗ broken, with the fix.

torch is imported inside its own check only.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from profactory.files import cache_dir

OK, ABSENT, BROKEN = "ok", "absent", "broken"
MARKS = {OK: "✓", ABSENT: "⊘", BROKEN: "✗"}
GIB = 1 << 30
LEAST_MEMORY, LEAST_DISK = 2 * GIB, 2 * GIB
HUB_SECONDS = 3.0
GET_TORCH = "https://pytorch.org/get-started/locally"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        What was looked at.
    state
        ``ok``, ``absent`` (does not apply here, nothing to mend) or ``broken``.
    detail
        What was found.
    fix
        The line to type, where there is one.
    """

    name: str
    state: str
    detail: str
    fix: str = ""

    def line(self) -> str:
        """Return the finding as text, the fix below it."""
        text = f"{MARKS[self.state]} {self.name:<16} {self.detail}"
        return f"{text}\n    fix: {self.fix}" if self.fix else text

    def to_dict(self) -> dict[str, str]:
        """Return the fields for ``--json``."""
        return asdict(self)


Check = Callable[[], Iterable[Finding]]


def diagnose(more: Iterable[Check] = ()) -> Iterator[Finding]:
    """Look at everything; a check that fails unexpectedly is a finding itself.

    Parameters
    ----------
    more
        Further checks, from rooms above this one.
    """
    own = (python, packages, extras, torch_and_gpu, memory, processor, disk, hub)
    for check in (*own, *more):
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - the doctor reports whatever is broken, by name
            yield Finding(check.__name__.replace("_", " "), BROKEN, f"{type(error).__name__}: {error}")


def python() -> Iterator[Finding]:
    """Check the interpreter: version and word size."""
    version = platform.python_version()
    where = f"{version} at {sys.executable}"
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        yield Finding("Python", BROKEN, where, "use Python 3.11, 3.12 or 3.13: python3.12 -m venv .venv")
    elif sys.maxsize < 2**32:
        yield Finding("Python", BROKEN, f"{where}, 32 bit", "install a 64-bit Python")
    else:
        yield Finding("Python", OK, where)


def packages() -> Iterator[Finding]:
    """Check that every package we need is there in a version that will do."""
    wrong = [line for line in map(_unmet, _requirements("")) if line]
    missing = [requirement for requirement, _ in wrong]
    if wrong:
        detail = "; ".join(f"{requirement} ({found})" for requirement, found in wrong)
        command = "pip install " + " ".join(f'"{requirement}"' for requirement in missing)
        yield Finding("packages", BROKEN, detail, command)
        return
    versions = {name: metadata.version(name) for name in ("profactory", "transformers", "peft", "accelerate")}
    yield Finding("packages", OK, ", ".join(f"{name} {version}" for name, version in versions.items()))


def extras() -> Iterator[Finding]:
    """Tell which optional parts are installed."""
    names = [
        name for name in metadata.metadata("profactory").get_all("Provides-Extra") or [] if name != "dev"
    ]
    for name in names:
        wrong = [line for line in map(_unmet, _requirements(name)) if line]
        if wrong:
            detail = f"not installed (optional): {', '.join(requirement for requirement, _ in wrong)}"
            yield Finding(f"extra {name}", ABSENT, detail, f'pip install "profactory[{name}]"')
        else:
            yield Finding(f"extra {name}", OK, "installed")


def torch_and_gpu() -> Iterator[Finding]:
    """Check torch, and whether its build, the driver and the GPU fit together."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", BROKEN, f"cannot be imported: {error}", "pip install --force-reinstall torch")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "processor only"
    yield Finding("torch", OK, f"{torch.__version__} ({build})")
    if torch.cuda.is_available():
        yield from map(_cuda_device, range(torch.cuda.device_count()))
    elif torch.backends.mps.is_available():
        yield Finding("GPU", OK, "Apple GPU (mps)")
    else:
        yield no_gpu(torch.version.cuda, nvidia_driver())


def no_gpu(torch_cuda: str | None, driver: tuple[str, str] | str | None) -> Finding:
    """Explain why torch sees no NVIDIA GPU.

    Parameters
    ----------
    torch_cuda
        CUDA version that torch was built for; None for a build without CUDA.
    driver
        As :func:`nvidia_driver` returns it.
    """
    if driver is None:
        return Finding("GPU", ABSENT, "no NVIDIA driver here; everything works on the processor")
    if isinstance(driver, str):
        fix = "restart the machine, or reinstall the NVIDIA driver; then run nvidia-smi"
        return Finding("GPU", BROKEN, f"nvidia-smi fails: {driver}", fix)
    version, cuda = driver
    newest = f"driver {version} runs CUDA up to {cuda}"
    if torch_cuda is None:
        return Finding(
            "GPU", BROKEN, f"{newest}, but this torch is built for the processor only", _get_torch(cuda)
        )
    if _number(torch_cuda)[0] > _number(cuda)[0]:
        return Finding("GPU", BROKEN, f"{newest}, but this torch needs CUDA {torch_cuda}", _get_torch(cuda))
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and not re.fullmatch(r"\d+(,\d+)*", hidden):
        return Finding(
            "GPU", ABSENT, f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES"
        )
    return Finding(
        "GPU",
        BROKEN,
        f"{newest}, torch is built for CUDA {torch_cuda}, and yet torch sees no GPU",
        'python -c "import torch; torch.cuda.init()" says why; often the machine needs a restart',
    )


def nvidia_driver() -> tuple[str, str] | str | None:
    """Ask ``nvidia-smi``: (driver version, newest CUDA it runs), its complaint, or None if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run([program], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    found = re.search(r"Driver Version:\s*([\d.]+).*?CUDA Version:\s*([\d.]+)", answer.stdout)
    if answer.returncode != 0 or found is None:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        return said[0] if said else f"it ends with code {answer.returncode}"
    return found[1], found[2]


def memory() -> Iterator[Finding]:
    """Check how much memory there is, the limit of a container included."""
    import psutil

    system = psutil.virtual_memory()
    limit = _container_memory()
    total = min(system.total, limit) if limit else system.total
    free = min(system.available, total)
    detail = f"{_gib(free)} free of {_gib(total)}" + (
        " (limit of the container)" if total < system.total else ""
    )
    if free < LEAST_MEMORY:
        fix = "close other programs; train with --method freeze and a smaller --tokens-per-batch"
        yield Finding("memory", BROKEN, detail, fix)
    else:
        yield Finding("memory", OK, detail)


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
        yield Finding("bf16", OK, f"in hardware ({', '.join(fast)}): --precision bf16 may be faster")
    else:
        yield Finding("bf16", ABSENT, "not in hardware: fp32 is the right precision on this processor")


def disk() -> Iterator[Finding]:
    """Check that the cache folder can be written and has room."""
    folder = cache_dir()
    fix = "set PROFACTORY_CACHE to a folder on a disk with room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding("cache folder", BROKEN, f"{folder} cannot be written: {error.strerror}", fix)
        return
    state = BROKEN if free < LEAST_DISK else OK
    yield Finding("cache folder", state, f"{folder}, {_gib(free)} free", fix if state == BROKEN else "")


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


def _cuda_device(index: int) -> Finding:
    import torch

    about = torch.cuda.get_device_properties(index)
    name = f"GPU {index}"
    detail = f"{about.name}, {_gib(about.total_memory)}, compute capability {about.major}.{about.minor}"
    try:
        torch.ones(8, device=f"cuda:{index}").sum().item()
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        return Finding(
            name, BROKEN, f"{detail}; a sum on it fails: {said}", f"install another torch build: {GET_TORCH}"
        )
    return Finding(name, OK, detail + (", bf16" if torch.cuda.is_bf16_supported() else ""))


def _get_torch(driver_cuda: str) -> str:
    major = _number(driver_cuda)[0]
    if major < 12:
        return f"update the NVIDIA driver (CUDA 12.6 or newer), then install torch: {GET_TORCH}"
    build = "cu130" if major >= 13 else "cu126"  # any driver of CUDA 12 runs builds for CUDA 12
    return f"pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/{build}"


def _requirements(extra: str) -> list[Any]:
    """Return our requirements: those of an extra, or those that are always needed."""
    from packaging.requirements import Requirement

    parsed = [Requirement(line) for line in metadata.requires("profactory") or []]
    if not extra:
        return [r for r in parsed if r.marker is None or r.marker.evaluate({"extra": ""})]
    with_it = [r for r in parsed if r.marker is not None and r.marker.evaluate({"extra": extra})]
    return [r for r in with_it if r.marker is not None and not r.marker.evaluate({"extra": ""})]


def _unmet(requirement: Any) -> tuple[str, str] | None:
    """Return a requirement that is not met and what is there instead."""
    text = f"{requirement.name}{requirement.specifier}"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return text, "missing"
    return (
        None
        if requirement.specifier.contains(version, prereleases=True)
        else (text, f"{version} is installed")
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)) or (0,)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


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
