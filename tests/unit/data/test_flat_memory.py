"""Memory does not grow with the table, and a hostile file fails early; measured in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CHILD = """
    import json, sys
    from pathlib import Path
    from profactory.data.prepare import prepare_dataset
    from profactory.errors import ProFactoryError

    def peak():
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    small, big, cache = sys.argv[1:]
    prepare_dataset(small, cache=cache)
    before, message, rows = peak(), "", 0
    try:
        rows = len(prepare_dataset(big, cache=cache).dataset)
    except ProFactoryError as error:
        message = str(error)
    print(json.dumps({"rows": rows, "megabytes": peak() - before, "message": message}))
"""


def run(small: Path, big: Path) -> dict[str, object]:
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(small), str(big), str(big.parent / "cache")]
    result = json.loads(subprocess.check_output(command, text=True))
    assert isinstance(result, dict)
    return result


def write(path: Path, rows: int) -> Path:
    sequence = "ACDEFGHIKLMNPQRSTVWY" * 15
    with path.open("w") as handle:
        handle.write("id,sequence,label\n")
        handle.writelines(f"P{i},{sequence[i % 20 :]},{i % 3}\n" for i in range(rows))
    return path


def test_more_rows_need_hardly_more_memory(tmp_path: Path) -> None:
    """350,000 more rows are 105 MB more of text, of which less than half may show.

    Measured: 17 MB for 10,000 more rows as for 350,000, and on a busy machine up to 26 MB in steps of 4 MB,
    the size of a block, which the allocator gives back sooner or later.
    """
    result = run(write(tmp_path / "small.csv", 50_000), write(tmp_path / "big.csv", 400_000))
    assert result["rows"] == 400_000
    assert float(str(result["megabytes"])) < 50


def test_an_unclosed_quote_in_a_big_file_fails_early(tmp_path: Path) -> None:
    small = write(tmp_path / "small.csv", 20_000)
    big = tmp_path / "big.csv"
    with big.open("w") as handle:
        handle.write('id,sequence,label\nP0,ACD,0\nP1,"ACD,1\n')
        for _ in range(300):
            handle.write(("P2," + "ACDEFGHIKL" * 30 + ",1\n") * 1000)  # 90 MB
    result = run(small, big)
    assert "a quote opened in line 3 is not closed within 2,000,000 characters" in str(result["message"])
    assert float(str(result["megabytes"])) < 60


LIMITED = """
    import resource, sys
    from pathlib import Path
    from profactory.data.prepare import prepare_dataset
    from profactory.errors import ReadError

    small, big, cache = sys.argv[1:]
    prepare_dataset(small, cache=cache)
    status = Path("/proc/self/status").read_text()
    now = int(next(line for line in status.splitlines() if line.startswith("VmSize")).split()[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (now + (200 << 20), now + (200 << 20)))
    try:
        prepare_dataset(big, cache=cache)
    except ReadError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "size", "said"),
    [
        (b'P1,"ACD,1\n' + b"P2,ACDEFGHIKL,1\n" * 200_000, 1 << 30, "a quote opened in line 3 is not closed"),
        (b"P1," + b"A" * 20_000_000 + b",1\n", 0, "line 3 is longer than 16,000,000 bytes"),
        (b'P1,"' + b"AAAAAAAAA\n" * 2_000_000 + b'",1\n', 0, "a quote opened in line 3 is not closed within"),
        (b'P1,"' + b"A" * 3_000_000 + b'",1\n', 0, "a cell in line 3 is longer than 2,000,000 characters"),
    ],
    ids=["unclosed quote in a gigabyte", "line of 20 MB", "quoted field of 20 MB", "quoted field of 3 MB"],
)
def test_hostile_files_within_200_megabytes(tmp_path: Path, head: bytes, size: int, said: str) -> None:
    small = write(tmp_path / "small.csv", 1000)
    big = tmp_path / "big.csv"
    big.write_bytes(b"id,sequence,label\nP0,ACD,0\n" + head)
    if size:
        os.truncate(big, size)  # the rest is a hole, which costs no disk and reads as a gigabyte
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(small), str(big), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said in done.stdout, done.stderr
    assert "fix: " in done.stdout
