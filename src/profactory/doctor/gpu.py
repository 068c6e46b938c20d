"""Whether the build of torch, the driver and the GPU fit together; imports torch inside the check only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

from profactory.doctor.finding import ABSENT, BROKEN, OK, Finding, gib

GET_TORCH = "https://pytorch.org/get-started/locally"


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


def gpu_memory() -> int | None:
    """Ask ``nvidia-smi`` for the bytes of memory of the first GPU; None if it names none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    words = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    first = answer.stdout.strip().partition("\n")[0].strip()
    return int(first) << 20 if answer.returncode == 0 and first.isdecimal() else None


def _cuda_device(index: int) -> Finding:
    import torch

    about = torch.cuda.get_device_properties(index)
    name = f"GPU {index}"
    detail = f"{about.name}, {gib(about.total_memory)}, compute capability {about.major}.{about.minor}"
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


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)) or (0,)
