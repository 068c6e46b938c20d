"""The Slurm script says what ProFactory understands; `srun` is replaced by a program that notes its words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm.sh"


def words_of(folder: Path, *arguments: str) -> list[str]:
    stub = folder / "srun"
    stub.write_text('#!/bin/bash\nprintf "%s\\n" "$OMP_NUM_THREADS threads" "$@"\n')
    stub.chmod(0o755)
    job = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8", "SLURM_GPUS_ON_NODE": "2"}
    done = subprocess.run(
        ["bash", SCRIPT, *arguments], cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, **job, "PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_job_trains_and_goes_on_when_it_is_queued_again(tmp_path: Path) -> None:
    launch = [
        *("4 threads", "--kill-on-bad-exit=1", "torchrun", "--standalone", "--nproc-per-node", "2"),
        *("-m", "profactory"),
    ]
    first = words_of(tmp_path, "proteins.csv", "--method", "lora")
    assert first == [*launch, "train", "proteins.csv", "--out", "runs/slurm-7", "--method", "lora"]
    (tmp_path / "runs" / "slurm-7").mkdir(parents=True)
    (tmp_path / "runs" / "slurm-7" / "status.json").write_text("{}")
    assert words_of(tmp_path, "proteins.csv", "--method", "lora") == [*launch, "resume", "runs/slurm-7"]
