"""A Ray cluster: reached or started, its machines, and how many workers they can hold."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profactory.errors import ConfigError, MissingExtraError

#: Threads of a worker on processors: more of them gain little with a batch of some thousand tokens.
WORKER_CPUS = 4
#: The blocks on their way are small; Ray would take a third of the memory.
_STORE_BYTES = 256 << 20
_LOOPBACK = "127.0.0.1"
#: What the machines need of the surroundings of this process, if it is set.
_FORWARDED = ("HF_HOME", "HF_HUB_CACHE", "PROFACTORY_CACHE")


@dataclass(frozen=True)
class Cluster:
    """Where to compute, as it was typed.

    Parameters
    ----------
    kind
        ``ray``, the only one.
    address
        ``auto`` or ``HOST:PORT``; None starts a cluster on this machine.
    workers
        How many; None for as many as there is room for.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    ConfigError
        The kind or the address is nothing that can be used.
    MissingExtraError
        Ray is not installed.
    """

    kind: str = "ray"
    address: str | None = None
    workers: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.kind != "ray":
            raise ConfigError(f"cluster is {self.kind!r}.", expected="ray", fix="--cluster ray")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"A cluster does not compute on {self.device!r}.", expected="auto, cpu or cuda")
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers is {self.workers}.", expected="at least 1")
        if importlib.util.find_spec("ray") is None:
            raise MissingExtraError("--cluster ray", "ray")
        if self.address and "://" in self.address:
            raise ConfigError(
                f"The address {self.address!r} is one of Ray Client, which Ray Data does not support.",
                expected="auto, or HOST:PORT of the head node, typed on a machine of the cluster",
                fix="--address auto",
            )


@dataclass(frozen=True)
class Workers:
    """How the work is spread.

    Parameters
    ----------
    count
        Workers, each with a model of its own.
    cpus
        Processor cores of each; 0 if it has a GPU.
    nodes
        Machines of the cluster.
    """

    count: int
    cpus: int
    nodes: int = 1

    @property
    def device(self) -> str:
        """Where a worker computes."""
        return "cpu" if self.cpus else "cuda"

    def __str__(self) -> str:
        each = f"{self.cpus} core{'s' * (self.cpus > 1)}" if self.cpus else "a GPU"
        machines = f"{self.nodes} machine{'s' * (self.nodes > 1)}"
        return f"{self.count} worker{'s' * (self.count > 1)} with {each} each on {machines}"


def plan_workers(nodes: Sequence[Mapping[str, float]], asked: int | None, device: str) -> Workers:
    """Spread workers over machines: one for each GPU, or one for every four cores.

    Parameters
    ----------
    nodes
        Resources of each machine: ``{"CPU": 16, "GPU": 2}``.
    asked
        How many workers, as typed.
    device
        ``auto`` (GPUs if there are any), ``cpu`` or ``cuda``.

    Raises
    ------
    ConfigError
        There is no room for as many, or no GPU.

    Examples
    --------
    >>> plan_workers([{"CPU": 16}, {"CPU": 8}], None, "auto")
    Workers(count=6, cpus=4, nodes=2)
    >>> plan_workers([{"CPU": 16}, {"CPU": 8}], 3, "auto")
    Workers(count=3, cpus=8, nodes=2)
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if device == "cuda" and not gpus:
        raise ConfigError("No machine of the cluster has a GPU.", fix="--device cpu")
    if gpus and device != "cpu":
        return _limited(Workers(asked or gpus, 0, len(nodes)), gpus, "GPUs")
    cores = [int(node.get("CPU", 0)) for node in nodes if node.get("CPU", 0) >= 1]
    if not cores:
        raise ConfigError("No machine of the cluster has a core to compute with.")
    if asked is None:
        each = min(WORKER_CPUS, *cores)
        return Workers(sum(count // each for count in cores), each, len(nodes))
    fits = [c for c in range(1, max(cores) + 1) if sum(count // c for count in cores) >= asked]
    return _limited(Workers(asked, max(fits, default=1), len(nodes)), sum(cores), "cores")


def _limited(workers: Workers, room: int, what: str) -> Workers:
    if workers.count > room:
        raise ConfigError(
            f"{workers.count} workers are asked for, and the cluster has {room} {what}.",
            fix=f"--workers {room}",
        )
    return workers


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[list[dict[str, float]]]:
    """Reach a cluster, or start one on this machine; yield the resources of its machines.

    Parameters
    ----------
    address
        ``auto`` or ``HOST:PORT``; None starts a cluster that ends with the work.

    Raises
    ------
    ConfigError
        No cluster answers there, or it runs another version of Ray or Python.
    """
    _quiet()
    import ray

    mine = not ray.is_initialized()  # whoever uses Ray in this process already goes on with it
    if mine:
        _init(ray, address)
    try:
        yield [node["Resources"] for node in ray.nodes() if node["Alive"]]
    finally:
        if mine:
            ray.shutdown()


def surroundings() -> dict[str, str]:
    """Return the environment of a worker: no download, and the folders that this process was told to use."""
    return {"HF_HUB_OFFLINE": "1", **{name: os.environ[name] for name in _FORWARDED if name in os.environ}}


def _init(ray: Any, address: str | None) -> None:
    local: dict[str, Any] = {}
    if not address:  # nobody else can reach what is started here
        local = {"_node_ip_address": _LOOPBACK, "include_dashboard": False}
        local["object_store_memory"] = _STORE_BYTES
    try:
        with _own_signals(), _silent():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
        raise ConfigError(
            f"Could not connect to {where}: {str(error).strip().splitlines()[0]}",
            expected="a running cluster with the same versions of Ray and Python",
            fix="ray status --address HOST:PORT shows it; leave --address out to start one here",
        ) from error


def _quiet() -> None:
    """Set what Ray reads when it is imported: no report of its use, and no lines of its own."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does here; Ray would print its stack."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Let the native code of Ray say nothing while it starts; what goes wrong is raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
