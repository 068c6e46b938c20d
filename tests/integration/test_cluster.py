"""Prediction and embedding on a Ray cluster of two nodes, made by Ray's own test utilities."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profactory import api
from profactory.errors import ConfigError
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.scale import cluster as scale_cluster
from profactory.scale import running
from profactory.scale.worker import Worker
from profactory.tasks import Task, TaskKind

pytest.importorskip("ray")
pytestmark = [pytest.mark.extensive, pytest.mark.filterwarnings("default")]  # Ray's own warnings are not ours

HOME = "127.0.0.1"
ROWS = 300


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with a core each, to which this process is connected."""
    scale_cluster._quiet()
    from ray._private import services
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        # Ray asks a server far away which address this machine has.
        patched.setattr(services, "get_node_ip_address", lambda address=None: HOME)
        cluster = Cluster()
        for _ in range(2):
            cluster.add_node(num_cpus=1, node_ip_address=HOME, include_dashboard=False)
        with scale_cluster.connect(cluster.address):
            yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = ProteinModel.build(resolve("mini"), Task(TaskKind.SINGLE_LABEL, ("no", "yes")), max_length=50)
    return made.save(tmp_path_factory.mktemp("cluster") / "model", provenance={})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CSV and a Parquet file, a bad sequence and ``NA`` as text."""
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), int(n))) for n in rng.integers(5, 60, ROWS)]
    sequences[70] = "AC1"
    table = pa.table({"id": [f"p{i}" for i in range(ROWS)], "sequence": sequences, "note": ["NA"] * ROWS})
    folder = tmp_path_factory.mktemp("input")
    rows = zip(*table.slice(0, ROWS // 2).to_pydict().values(), strict=True)
    (folder / "a.csv").write_text("\n".join(["id,sequence,note", *map(",".join, rows)]) + "\n")
    pq.write_table(table.slice(ROWS // 2), folder / "b.parquet")
    return folder


class Mortal(Worker):
    """Is killed once before it computes a block, and once when it has written one and not yet said so."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        number = json.loads(batch.to_pylist()[0]["piece"])["number"]
        if number == 1:
            self._die_once("before")
        answer = super().__call__(batch)
        if number == 2:
            self._die_once("after")
        return answer

    def _die_once(self, when: str) -> None:
        flag = self.folder.with_name(f"died-{when}")
        if not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_workers_lose_and_double_nothing(
    two_nodes: Any, model: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(running, "Worker", Mortal)
        report = api.predict(model, source, out=out, cluster="ray", device="cpu")
    assert {file.name for file in tmp_path.iterdir()} == {"out", "died-before", "died-after"}
    assert not isinstance(report, list)
    assert (report.rows, report.predicted, report.failed) == (ROWS, ROWS - 1, 1)
    found = pq.read_table(out).to_pylist()
    assert [row["id"] for row in found] == [f"p{i}" for i in range(ROWS)]
    assert [row["note"] for row in found] == ["NA"] * ROWS
    assert found == [pytest.approx(row, abs=1e-5) for row in _local(model, source, tmp_path)]


def _local(model: Path, source: Path, tmp_path: Path) -> list[dict[str, Any]]:
    rows = []
    for file in sorted(source.iterdir()):
        target = tmp_path / f"{file.stem}.parquet"
        api.predict(model, file, out=target, engine="torch", device="cpu")
        rows += pq.read_table(target).to_pylist()
    return rows


@pytest.mark.extensive
def test_the_same_call_computes_what_is_missing(
    two_nodes: Any, model: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    api.predict(model, source, out=out, cluster="ray", device="cpu")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (out / "_manifest.json").unlink()  # as if the machine of the user had gone off
    for number in (0, 2):
        (out / f"part-00001-{number:06d}.parquet").unlink()
    api.predict(model, source, out=out, cluster="ray", device="cpu", workers=1)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.extensive
def test_embeddings_of_two_nodes(two_nodes: Any, source: Path, tmp_path: Path) -> None:
    report = api.embed("mini", source / "a.csv", tmp_path / "out", cluster="ray", device="cpu")
    assert (report.rows, report.failed) == (ROWS // 2 - 1, 1)
    api.embed("mini", source / "a.csv", tmp_path / "local.parquet", device="cpu")
    found, expected = (pq.read_table(tmp_path / name) for name in ("out", "local.parquet"))
    for name in ("row", "id"):
        assert found.column(name).to_pylist() == expected.column(name).to_pylist()
    vectors = [np.array(table.column("embedding").to_pylist()) for table in (found, expected)]
    np.testing.assert_allclose(*vectors, atol=1e-5)


@pytest.mark.extensive
def test_an_error_of_a_worker_is_ours(two_nodes: Any, model: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fp16.*\(on "):
        api.predict(model, source, out=tmp_path / "out", cluster="ray", device="cpu", precision="fp16")


@pytest.mark.extensive
def test_the_command_line_on_a_cluster_of_its_own(model: Path, source: Path, tmp_path: Path) -> None:
    typed = [
        "predict",
        str(model),
        str(source),
        "--cluster",
        "ray",
        "--workers",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "profactory", *typed], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == f"{ROWS - 1} of {ROWS} rows predicted (torch fp32 on cpu): {tmp_path / 'out'}"
    assert "sequences were longer than the model reads" in told[1]
    said = done.stderr.splitlines()
    assert said[0].startswith("Ray: 1 worker with ")
    assert [
        line for line in said[1:] if not line.startswith(("predicting: ", "Warning: 1 row", "  - "))
    ] == []
    assert json.loads((tmp_path / "out" / "_manifest.json").read_text())["rows"] == ROWS
