"""What goes to PyPI: the wheel has all that the program reads, its metadata are valid; CI is one script."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.metadata import Metadata
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: One of each kind of thing that is no Python module and without which something does not work.
NEEDED = (
    "py.typed",
    "models/mini/model.safetensors",
    "models/mini/vocab.txt",
    "models/zoo.toml",
    "data/catalog.toml",
    "data/bundled/index.json",
    "data/bundled/demo-location.csv.gz",
    "evaluation/templates/report.html.j2",
    "sharing/templates/card.md.j2",
    "web/texts/en.toml",
    "web/texts/zh.toml",
    "web/page.js",
    "web/enter.html",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from what lies here."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = ROOT / "src" / "profactory"
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    expected = {str(path.relative_to(ROOT / "src")) for path in files}
    found = {name for name in wheel.namelist() if not name.startswith("profactory-")}
    assert found == expected
    assert {f"profactory/{name}" for name in NEEDED} <= found
    licences = {name.rsplit("/", 1)[1] for name in wheel.namelist() if "/licenses/" in name}
    assert licences == {"LICENSE", "THIRD_PARTY.md"}
    assert sum(info.compress_size for info in wheel.infolist()) < 20 << 20


@pytest.mark.slow
def test_the_program_runs_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path / "site")
    code = (
        "import profactory, sys\n"
        "assert profactory.__file__.startswith(sys.argv[1]), profactory.__file__\n"
        "from profactory.cli.main import main\n"
        "sys.exit(main(['check', 'bundled:demo-location']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PROFACTORY_CACHE": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1,140 rows read" in done.stdout


@pytest.mark.slow
def test_metadata_are_what_pypi_takes(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    content = wheel.read(name)
    found = Metadata.from_email(content, validate=True)
    assert str(found.requires_python) == "<3.14,>=3.11"
    assert found.license_expression == "Apache-2.0"
    assert found.description_content_type == "text/markdown"
    assert email.message_from_bytes(content).get_payload().startswith("# ProFactory")
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert b"profactory = profactory.cli.main:main" in wheel.read(name)


def test_every_requirement_is_pinned_for_those_who_build_from_the_repository() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.split(r"==", line)[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(one for name in extras if name != "all" for one in extras[name])]
    names = {Requirement(one).name.lower().replace("_", "-") for one in asked}
    assert names <= pinned


def test_all_has_every_extra_for_users() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    # The others are for those who work on ProFactory.
    # ray is for those who have a cluster, and as old as the cluster is
    assert extras.keys() - everything.extras == {"all", "docs", "dev", "ray"}


def test_continuous_integration_runs_the_script_and_nothing_else() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    versions = {text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if ":: 3." in text}
    assert set(job["strategy"]["matrix"]["python"]) == versions == {"3.11", "3.12", "3.13"}
    (command,) = (step["run"] for step in job["steps"] if "run" in step)
    assert command.endswith("bash .ci/run")
    made = re.findall(r"(?m)^make (\w+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    targets = re.findall(r"(?m)^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert made == ["check", "docs", "test"]
    assert set(made) <= set(targets)


def test_what_the_image_copies_is_there_and_its_extras_exist() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r'"\.\[([^\]]+)\]"', text)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for needed in ("src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "THIRD_PARTY.md"):
        assert (ROOT / needed).exists()
        assert needed not in ignored
