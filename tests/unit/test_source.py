"""What the source never does: unpickle, run text as code, use a shell (promises S1 and S12)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import profactory

ROOT = Path(profactory.__file__).parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("torch", "load"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("os", "system"),
    ("os", "popen"),
    ("pd", "read_pickle"),
    ("pandas", "read_pickle"),
}
SWITCHES = {"shell", "allow_pickle"}


def offences(source: str) -> list[str]:
    """Return what a source does and must not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            found += _of_call(node)
    return found


def _of_call(node: ast.Call) -> list[str]:
    found = []
    if isinstance(node.func, ast.Name) and node.func.id in CALLS:
        found.append(node.func.id)
    match node.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if (owner, name) in METHODS:
            found.append(f"{owner}.{name}")
    for keyword in node.keywords:
        on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value in (False, None))
        if keyword.arg in SWITCHES and on:
            found.append(f"{keyword.arg}=…")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "yaml.load(f)",
        "eval(x)",
        "exec(x)",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_each_offence_is_seen(source: str) -> None:
    assert offences(source)


def test_the_source_has_none() -> None:
    found = {
        str(file.relative_to(ROOT)): offences(file.read_text(encoding="utf-8")) for file in ROOT.rglob("*.py")
    }
    assert len(found) > 100
    assert {name: what for name, what in found.items() if what} == {}
