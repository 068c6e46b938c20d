"""What a cluster does, without one: cutting, computing and keeping parts, refusing what has no meaning."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profactory import api
from profactory.data.reading import open_table
from profactory.errors import (
    ColumnError,
    ConfigError,
    MemoryBudgetError,
    MissingExtraError,
    Problem,
    ProFactoryError,
    ReadError,
    RowError,
    RunExistsError,
)
from profactory.inference.row_blocks import row_blocks
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.scale import cluster, running, sharded
from profactory.scale.cluster import Cluster, Workers, plan_workers
from profactory.scale.inputs import Piece, Survey, block_size, open_input, survey
from profactory.scale.parts import begin_part
from profactory.scale.worker import TRIES, Reader, Worker, describe, pack, reraise, unpack, wanted_by_file
from profactory.tasks import Task, TaskKind
from tests.support.models import tiny_esm

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale")
    task = Task(TaskKind.SINGLE_LABEL, ("no", "yes"))
    made = ProteinModel.build(resolve(str(tiny_esm(folder / "tiny"))), task, max_length=50)
    return made.save(folder / "model", provenance={})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two files, with a bad sequence, a ragged row, ``NA`` as text and a taken column name."""
    rng = np.random.default_rng(0)
    rows = [f"{''.join(rng.choice(list(LETTERS), int(n)))},NA" for n in rng.integers(5, 40, 300)]
    rows[7], rows[120] = "AC1,bad", "ACD"
    folder = tmp_path / "in"
    folder.mkdir()
    for name, part in (("a.csv", rows[:170]), ("b.csv", rows[170:])):
        lines = [f"{name[0]}{i},{row}" for i, row in enumerate(part)]
        (folder / name).write_text("\n".join(["id,sequence,prediction", *lines]) + "\n")
    return folder


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Compute blocks in this process instead of on a cluster; return the parts in the order of computing."""
    computed: list[str] = []

    def compute(
        job: Any, source: Any, size: int, pieces: Any, folder: Path, where: Any, advance: Any
    ) -> None:
        worker = Worker(job, folder.absolute(), "cpu", 0, {})
        reader = Reader(source, size, wanted_by_file(pieces))
        for file in sorted(reader.wanted, reverse=True):  # the order of a cluster is any
            for block in reader(pa.table({"item": [file]})):
                (row,) = worker(block).to_pylist()
                if row["error"]:
                    reraise(row["error"])
                computed.append(row["part"])
                advance(row["rows"])

    monkeypatch.setattr(sharded, "compute_parts", compute)
    return computed


def _table(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()


def _local(model: Path, source: Path, out: Path) -> list[dict[str, Any]]:
    """Predict both files on one machine, one after the other."""
    rows = []
    for file in sorted(source.iterdir()):
        api.predict(model, file, out=out, engine="torch", device="cpu", overwrite=True)
        rows += _table(out)
    return rows


def test_the_same_rows_columns_and_numbers_as_on_one_machine(
    model: Path, source: Path, tmp_path: Path, at_home: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, int]] = []
    report = api.predict(
        model, source, out=tmp_path / "out", cluster="ray", on_progress=lambda *done: seen.append(done)
    )
    assert not isinstance(report, list)
    assert (report.rows, report.predicted, report.failed, report.engine) == (300, 298, 2, "torch fp32 on cpu")
    assert "b.csv" not in "".join(map(str, report.problems))
    assert [(problem.line, problem.file) for problem in report.problems] == [
        (9, str(source / "a.csv")),
        (122, str(source / "a.csv")),
    ]
    assert "called 'prediction_2'" in caplog.text
    assert seen[-1] == (300, 300)
    found, expected = _table(tmp_path / "out"), _local(model, source, tmp_path / "local.parquet")
    assert [list(row) for row in found] == [list(row) for row in expected]
    for one, other in zip(found, expected, strict=True):
        close = {name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
                 for name, value in other.items()}  # fmt: skip
        assert one == close
    assert {row["prediction"] for row in found} == {"NA", "bad", None}
    assert len({str(schema) for schema in _schemas(tmp_path / "out")}) == 1


def _schemas(folder: Path) -> list[pa.Schema]:
    return [pq.read_schema(file).remove_metadata() for file in sorted(folder.glob("part-*.parquet"))]


def test_what_is_whole_is_not_computed_again(
    model: Path, source: Path, tmp_path: Path, at_home: list[str]
) -> None:
    out = tmp_path / "out"
    api.predict(model, source, out=out, cluster="ray")
    assert sorted(at_home) == [file.name for file in sorted(out.glob("part-*"))]
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(RunExistsError, match="complete"):
        api.predict(model, source, out=out, cluster="ray")
    # as if it had been killed: no manifest, one part missing, one cut off, one begun
    (out / "_manifest.json").unlink()
    (out / "part-00000-000001.parquet").unlink()
    torn = out / "part-00001-000000.parquet"
    torn.write_bytes(torn.read_bytes()[:-20])
    (out / ".part-00000-000001.parquet.123-0a0b0c0d.tmp").write_text("half")
    at_home.clear()
    api.predict(model, source, out=out, cluster="ray")
    assert sorted(at_home) == ["part-00000-000001.parquet", "part-00001-000000.parquet"]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    (out / "_manifest.json").unlink()
    with pytest.raises(RunExistsError, match="another input, model or option"):
        api.predict(model, source, out=out, cluster="ray", long="windows")
    at_home.clear()
    api.predict(model, source, out=out, cluster="ray", long="windows", overwrite=True)
    assert len(at_home) == len(before) - 2


def test_embeddings_are_those_of_one_machine(source: Path, tmp_path: Path, at_home: list[str]) -> None:
    backbone = tiny_esm(tmp_path / "tiny")
    for pooling in ("mean", "none"):
        out = tmp_path / pooling
        report = api.embed(backbone, source, out, pooling=pooling, cluster="ray")
        assert (report.rows, report.failed, report.width) == (298, 2, 32)
        found = _table(out)
        whole = tmp_path / "whole.csv"
        with (source / "b.csv").open() as behind:
            whole.write_text((source / "a.csv").read_text() + "".join(list(behind)[1:]))
        api.embed(backbone, whole, tmp_path / "whole.parquet", pooling=pooling, overwrite=True)
        expected = _table(tmp_path / "whole.parquet")
        assert [(row["row"], row["id"]) for row in found] == [(row["row"], row["id"]) for row in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(np.array(one["embedding"]), np.array(other["embedding"]), atol=1e-5)


def test_a_part_without_one_prediction_has_the_same_columns(
    model: Path, tmp_path: Path, at_home: list[str]
) -> None:
    file = tmp_path / "in.csv"
    file.write_text("sequence\n" + "1\n" * 64 + "ACD\n")
    api.predict(model, file, out=tmp_path / "out", cluster="ray")
    assert [row["prediction"] is None for row in _table(tmp_path / "out")] == [True] * 64 + [False]
    file.write_text("sequence\n" + "1\n" * 65)
    with pytest.raises(RowError, match="not one of 65 rows"):
        api.predict(model, file, out=tmp_path / "none", cluster="ray")
    assert not (tmp_path / "none" / "_manifest.json").exists()


def test_a_block_that_kills_its_workers_is_named(model: Path, tmp_path: Path, at_home: list[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(TRIES):
        begin_part(out / Piece(0, 0, 1, 2).name)
    worker = Worker(None, out, "cpu", 0, {})  # type: ignore[arg-type]
    file = tmp_path / "in.csv"
    file.write_text("sequence\nACD\nAC\n")
    reader = Reader(open_input(str(file)), 64, {0: {0: Piece(0, 0, 1, 2)}})
    (block,) = reader(pa.table({"item": [0]}))
    (row,) = worker(block).to_pylist()
    with pytest.raises(MemoryBudgetError, match=r"4 workers died over the rows 1 to 2. \(on "):
        reraise(row["error"])


def test_errors_of_a_machine_arrive_as_they_were() -> None:
    given = RowError("x: no.", expected="rows", fix="mend", problems=[Problem("bad", "x", 3, "seq", "1")])
    with pytest.raises(RowError, match=r"x: no. \(on ") as caught:
        reraise(describe(given))
    assert (caught.value.expected, caught.value.fix) == ("rows", "mend")
    assert caught.value.problems == given.problems
    with pytest.raises(ProFactoryError, match="needs a package"):
        reraise(describe(MissingExtraError("The engine onnx", "export")))
    with pytest.raises(ProFactoryError, match="ZeroDivisionError: by nothing"):
        reraise(describe(ZeroDivisionError("by nothing")))


def test_a_machine_that_does_not_see_the_files_says_so(source: Path, tmp_path: Path) -> None:
    opened = open_input(str(source))
    moved = source.rename(tmp_path / "elsewhere")
    (row,) = Reader(opened, 64, {0: {0: Piece(0, 0, 1, 64)}})(pa.table({"item": [0]}))
    with pytest.raises(ReadError, match=r"a.csv.*\(on "):
        reraise(Worker(None, tmp_path, "cpu", 0, {})(row).to_pylist()[0]["error"])  # type: ignore[arg-type]
    (block,) = Reader(replace(opened, paths=(moved / "a.csv",)), 170, {0: {0: Piece(0, 0, 1, 170)}})(
        pa.table({"item": [0]})
    )
    (row,) = Worker(None, tmp_path / "nowhere", "cpu", 0, {})(block).to_pylist()  # type: ignore[arg-type]
    with pytest.raises(ProFactoryError, match="every machine of the cluster sees"):
        reraise(row["error"])


def test_a_block_travels_with_its_lines_and_unreadable_rows(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text('id,sequence\na,ACD\nb\n"c\nc",\n')
    (block,) = row_blocks(open_table(file).chunks())
    again = unpack(pack(block))
    assert again.cells.equals(block.cells)
    assert (again.lines, again.unreadable) == (block.lines, block.unreadable)
    assert (again.lines, list(again.unreadable)) == ([2, 3, 4], [1])


def test_the_blocks_that_are_foreseen_are_those_that_are_cut(source: Path) -> None:
    opened = open_input(str(source))
    pieces = survey(opened).pieces(64)
    cut = [(file, len(block)) for file in (0, 1) for block in opened.blocks(file, 64)]
    assert [(piece.file, piece.rows) for piece in pieces] == cut
    assert cut == [(0, 64), (0, 64), (0, 42), (1, 64), (1, 64), (1, 2)]
    assert [piece.first for piece in pieces] == [1, 65, 129, 171, 235, 299]
    assert [piece.name for piece in pieces] == sorted(piece.name for piece in pieces)
    several = Survey(("",), ((5, 3),)).pieces(4)  # a block does not reach over the end of a chunk
    assert [(piece.number, piece.first, piece.rows) for piece in several] == [(0, 1, 4), (1, 5, 1), (2, 6, 3)]


@pytest.mark.parametrize(("rows", "size"), [(10, 64), (6400, 100), (6401, 101), (10**8, 4096)])
def test_small_inputs_have_small_blocks(rows: int, size: int) -> None:
    assert block_size(rows) == size


def test_folders_that_are_no_input(source: Path, tmp_path: Path) -> None:
    (source / "_SUCCESS").touch()
    (source / ".a.csv.crc").touch()
    assert [Path(name).name for name in open_input(str(source)).names] == ["a.csv", "b.csv"]
    (source / "c.csv").write_text("id,sequence\n1,ACD\n")
    with pytest.raises(ColumnError, match=r"c.csv has other columns"):
        open_input(str(source))
    (source / "part-3").touch()
    with pytest.raises(ReadError, match="what is no table: part-3"):
        open_input(str(source))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="empty folder"):
        open_input(str(tmp_path / "empty"))


def test_folders_that_are_no_output(model: Path, source: Path, tmp_path: Path) -> None:
    for name in ("out.csv", "out.npz"):
        with pytest.raises(ConfigError, match="folder of Parquet"):
            api.predict(model, source, out=tmp_path / name, cluster="ray")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds other files"):
        api.predict(model, source, out=tmp_path / "mine", cluster="ray", overwrite=True)


@pytest.mark.parametrize(
    ("nodes", "asked", "device", "plan"),
    [
        ([16, 16], None, "auto", Workers(8, 4, 2)),
        ([2, 16], None, "cpu", Workers(9, 2, 2)),
        ([2, 1], None, "auto", Workers(3, 1, 2)),
        ([16, 8], 3, "auto", Workers(3, 8, 2)),
        ([16, 8], 4, "auto", Workers(4, 5, 2)),
        ([16, 16], 1, "auto", Workers(1, 16, 2)),
    ],
)
def test_workers_on_processors(nodes: list[int], asked: int | None, device: str, plan: Workers) -> None:
    assert plan_workers([{"CPU": cores} for cores in nodes], asked, device) == plan


def test_workers_on_graphics_cards() -> None:
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}]
    assert plan_workers(nodes, None, "auto") == Workers(2, 0, 2)
    assert plan_workers(nodes, 1, "cuda") == Workers(1, 0, 2)
    assert plan_workers(nodes, None, "cpu") == Workers(20, 4, 2)
    with pytest.raises(ConfigError, match=r"3 workers .* 2 GPUs"):
        plan_workers(nodes, 3, "auto")
    with pytest.raises(ConfigError, match="has a GPU"):
        plan_workers([{"CPU": 2}], None, "cuda")
    with pytest.raises(ConfigError, match=r"3 workers .* 2 cores"):
        plan_workers([{"CPU": 2}], 3, "auto")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cluster": "dask"}, "cluster is 'dask'"),
        ({"cluster": "ray", "address": "ray://head:10001"}, "Ray Client"),
        ({"cluster": "ray", "workers": 0}, "workers is 0"),
        ({"cluster": "ray", "device": "mps"}, "does not compute on 'mps'"),
        ({"cluster": "ray", "residue_table": "long.csv"}, "--residue-table"),
        ({"address": "auto"}, "--address is about a cluster"),
        ({"workers": 2, "address": "auto"}, "--address and --workers is about a cluster"),
    ],
)
def test_what_has_no_meaning_is_refused(
    model: Path, source: Path, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        api.predict(model, source, out=tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


def test_options_of_one_machine_are_refused_by_name(model: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sequences in memory"):
        api.predict(model, ["ACD"], cluster="ray")
    with pytest.raises(ConfigError) as caught:
        api.embed(model, source, tmp_path / "out", umap="map.png", color_by="id", cluster="ray")
    assert [problem.reason.split(":")[0] for problem in caught.value.problems] == ["--umap", "--color-by"]


def test_ray_is_an_extra(model: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "profactory\[ray\]"'):
        Cluster("ray")


def test_what_cannot_be_reached_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        def init(self, **options: Any) -> None:
            raise ConnectionError("Ray is trying to start at a:1, but is not.\nSecond line")

    with pytest.raises(ConfigError, match=r"cluster at a:1: Ray is trying .* is not\.\n"):
        cluster._init(Nowhere(), "a:1")


def test_a_result_that_never_came_is_missed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [Piece(0, number, 1 + number, 1) for number in range(2)]
    monkeypatch.setattr(running, "connect", lambda address: contextlib.nullcontext([{"CPU": 1.0}]))
    monkeypatch.setattr(running, "_results", lambda *given: iter([(pieces[0].name, 1, "")]))
    with pytest.raises(ProFactoryError, match="1 parts were not computed: part-00000-000001"):
        running.compute_parts(
            None,
            open_input(str(source)),
            64,
            pieces,
            tmp_path,
            Cluster(),
            lambda rows: None,  # type: ignore[arg-type]
        )
