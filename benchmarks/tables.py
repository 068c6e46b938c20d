"""Tables of docs/performance.md and the ratios of the READMEs, made from benchmarks/results.

usage: python benchmarks/tables.py

What stands between ``<!-- benchmark: NAME -->`` and ``<!-- end -->`` is replaced.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import measuring

ROOT = Path(__file__).parent.parent
PAGES = ("docs/performance.md", "README.md", "README_zh.md")
PLACE = re.compile(r"(<!-- benchmark: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MEASURED = ("seconds", "cpu_seconds", "times_faster", "times_less_cpu")
Report = Mapping[str, Any]


def rewrite(root: Path = ROOT, results: Path = measuring.RESULTS) -> None:
    """Put what was measured last into the pages."""
    for page in PAGES:
        file = root / page
        text = file.read_text(encoding="utf-8")
        made = PLACE.sub(lambda found: found[1] + made_of(found[2], results) + found[3], text)
        if made != text:
            file.write_text(made, encoding="utf-8")


def made_of(name: str, results: Path) -> str:
    """Return a table, or how to get it if something was not measured yet."""
    try:
        return TABLES[name](results)
    except FileNotFoundError as error:
        return f"Not measured yet ({Path(error.filename).name}): `make bench` writes this table.\n"


def read(results: Path, name: str) -> dict[str, Any]:
    """Return the results of one benchmark."""
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    return found


def rows(head: list[str], body: list[list[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def spread(found: Report, form: str = "{:.1f}") -> str:
    """Return a median with the range of its runs."""
    text = form.format(found["median"])
    if len(found["all"]) == 1:
        return text
    low, high = form.format(min(found["all"])), form.format(max(found["all"]))
    return text if low == high else f"{text} ({low} to {high})"


def origin(report: Report) -> str:
    """Say where numbers come from."""
    machine = report["machine"]
    packages = ", ".join(f"{name} {one}" for name, one in machine["packages"].items() if one)
    return (
        f"\n`{report['command']}`, {machine['date']}: {machine['processor']}, {machine['cores']} cores,"
        f" OMP_NUM_THREADS {machine['threads']}, load before {machine['load_before']}; {packages}.\n"
    )


def training(results: Path) -> str:
    """Training beside Trainer."""
    report, body = read(results, "training"), []
    for case, found in report["cases"].items():
        for name, one in found.items():
            if "unavailable" in one:
                body.append([case, name, one["unavailable"], *[""] * 6])
                continue
            result = one["outcome"]
            only = result.get("training_seconds")
            cells = [spread(one[key]) for key in MEASURED]
            part = "" if only is None else f"{only:.1f}"
            body.append([case, name, *cells, part, f"{result['mcc']:.3f}", str(one["peak_mb"])])
    head = ["case", "what", "s", "CPU-s", "times faster", "times less CPU", "of which training, s"]
    return rows([*head, "test MCC", "peak MB"], body) + origin(report)


def inference(results: Path) -> str:
    """Inference beside loops."""
    report, body = read(results, "inference"), []
    for case, found in report["cases"].items():
        for name, one in found.items():
            if "unavailable" in one:
                body.append([case, name, one["unavailable"], *[""] * 5])
                continue
            residues = one["outcome"]["residues"]
            per_second = [residues / one[cost]["median"] for cost in ("seconds", "cpu_seconds")]
            cells = [f"{value:,.0f}" for value in per_second]
            cells += [spread(one[key]) for key in MEASURED[2:]]
            body.append([case, name, *cells, f"{one['outcome']['difference']:.1g}", str(one["peak_mb"])])
    head = ["shape", "what", "residues/s", "residues/CPU-s", "times faster", "times less CPU"]
    return rows([*head, "difference", "peak MB"], body) + origin(report)


def starting(results: Path) -> str:
    """Start-up."""
    report = read(results, "starting")
    body = [
        [name, spread(one["seconds"], "{:.2f}"), spread(one["cpu_seconds"], "{:.2f}"), str(one["peak_mb"])]
        for name, one in report["cases"]["start"].items()
    ]
    return rows(["command", "s", "CPU-s", "peak MB"], body) + origin(report)


def growth(results: Path) -> str:
    """Growth with length and number."""
    report, body = read(results, "growth"), []
    for case, found in report["cases"].items():
        one = next(iter(found.values()))
        residues = one["outcome"]["residues"]
        speeds = [f"{residues / one[cost]['median']:,.0f}" for cost in ("seconds", "cpu_seconds")]
        body.append([case, *speeds, str(one["peak_mb"])])
    return rows(["work", "residues/s", "residues/CPU-s", "peak MB"], body) + origin(report)


def reading(results: Path) -> str:
    """Reading and checking tables."""
    report, body = read(results, "read_table"), []
    for size, found in report.items():
        if not size.endswith("_rows"):
            continue
        for name in ("polars", "read_and_clean", "prepare", "check"):
            one = found[name]
            runs = (one["seconds"], one["times_polars"]["rounds"])
            times = (spread({"median": statistics.median(each), "all": each}) for each in runs)
            body.append([f"{int(size.removesuffix('_rows')):,}", name.replace("_", " "), *times])
            body[-1].append(f"{one['peak_mb']:.0f}")
    load = f"\n`benchmarks/read_table.py`, {report['cpus']} cores, load before {report['load_before']:.1f}.\n"
    return rows(["rows", "what", "s", "times polars.read_csv", "MB above imports"], body) + load


def ratio(report: Report, case: str, name: str, key: str = "times_faster") -> str:
    """Return how many times faster, or that it was not measured."""
    one = report["cases"].get(case, {}).get(name, {})
    return f"{one[key]['median']:.1f}" if key in one else "not measured"


def summary_rows(results: Path) -> list[list[str]]:
    """Return the ratios of the READMEs: clock and processor."""
    train, infer = read(results, "training"), read(results, "inference")
    keys = ("times_faster", "times_less_cpu")
    body = [
        [f"`{case}`, {epochs}", *(ratio(train, case, "profactory", key) for key in keys)]
        for case, epochs in (("freeze", "20 epochs"), ("lora", "2 epochs"), ("full", "2 epochs"))
    ]
    body += [
        [f"`{case} --precision fp32`", *(ratio(train, case, "profactory fp32", key) for key in keys)]
        for case in ("lora", "full")
    ]
    for shape in infer["cases"]:
        for precision in ("fp32", "bf16"):
            name = f"profactory {precision}"
            body.append([f"embed, {shape} {precision}", *(ratio(infer, shape, name, key) for key in keys)])
    return body


def summary(results: Path) -> str:
    """Ratios for the README."""
    return rows(["work", "times faster", "times less CPU"], summary_rows(results))


def summary_zh(results: Path) -> str:
    """Ratios for the Chinese README."""
    body = [
        [cell.replace("epochs", "轮").replace("not measured", "未测") for cell in row]
        for row in summary_rows(results)
    ]
    return rows(["工作", "快多少倍（时钟）", "快多少倍（CPU 时间）"], body)


TABLES: dict[str, Callable[[Path], str]] = {
    "training": training,
    "inference": inference,
    "starting": starting,
    "growth": growth,
    "reading": reading,
    "summary": summary,
    "summary_zh": summary_zh,
}

if __name__ == "__main__":
    rewrite()
