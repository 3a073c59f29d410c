"""The rooms of DESIGN.md: which package may import which, checked in the source of every module.

`LADDER` orders the packages. A module may import from its own package, from the rungs below and from the ground.
Packages on one rung do not import each other.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# `console` is above `model_file`, because `--config` takes a model file, whose header has a config.
LADDER = (
    ("launch",),
    ("api",),
    ("search", "tracking", "export", "report"),
    ("runs",),
    ("training",),
    ("evaluation", "inference"),
    ("console",),
    ("model_file",),
    ("models", "data"),
    ("size", "audio"),
    ("topology",),
    ("config",),
    ("ground",),
)
RUNG = {package: number for number, rung in enumerate(LADDER) for package in rung}
LIGHT = {"asc", "ground", "config", "topology", "size", "console"}
"""Rooms that import neither torch, NumPy nor another heavy library."""
HEAVY = {"torch", "torchaudio", "numpy", "safetensors", "soundfile", "scipy", "sklearn", "ray", "optuna", "mlflow"}
HEAVY |= {"matplotlib", "pandas", "pyarrow", "onnx", "onnxruntime", "executorch", "litert_torch", "ai_edge_litert"}
HEAVY |= {"av", "tflite_micro", "plotly"}
OPTUNA = {"asc.search.sampler", "asc.search.tpe", "asc.report.importance"}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "copyreg"}
ONLY_HOMES = {"ray": {"asc.search"}, "mlflow": {"asc.tracking"}, "pyarrow": {"asc.runs.bucket"}}
ONLY_HOMES |= {"pandas": {"asc.tracking", "asc.api"}}
ONLY_HOMES |= dict.fromkeys(("matplotlib", "plotly"), {"asc.report"})
ONLY_HOMES |= dict.fromkeys(("onnx", "onnxruntime", "executorch"), {"asc.export"})
ONLY_HOMES |= dict.fromkeys(("litert_torch", "ai_edge_litert", "tflite_micro"), {"asc.export"})


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for folder in ("asc", "launch") for path in sorted((ROOT / folder).rglob("*.py"))}
ASC = [name for name in MODULES if name.split(".")[0] == "asc"]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def imports(module: str) -> set[str]:
    """Everything imported anywhere in a module; for `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(parsed(MODULES[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            assert node.module is not None
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_the_parser_sees_imports_at_any_depth() -> None:
    assert "asc.errors" in imports("asc.config.experiment") and "tomli_w" in imports("asc.config.experiment")
    assert "torch" in imports("asc.search.settings"), "it is imported within a function"
    assert len(ASC) > 40


@pytest.mark.parametrize("module", MODULES)
def test_ray_optuna_and_mlflow_are_imported_only_where_they_belong(module: str) -> None:
    for library, homes in ONLY_HOMES.items():
        if not within(module, homes):
            assert not any(within(name, {library}) for name in imports(module)), f"{module} imports {library}"


def test_optuna_draws_points_and_says_which_parameters_matter() -> None:
    assert {module for module in MODULES if any(within(name, {"optuna"}) for name in imports(module))} == OPTUNA


def room(module: str) -> str:
    """The package of a module; modules directly in asc are the ground, except `asc` itself."""
    first, *others = module.split(".")
    if first == "launch" or not others:
        return first
    return others[0] if (ROOT / "asc" / others[0]).is_dir() else "ground"


def upward(module: str) -> list[str]:
    """Imports of a module that break the law."""
    home = room(module)
    found = [name for name in imports(module) if within(name, {"asc", "launch"}) and name != "asc"]
    return [name for name in found if room(name) != home and RUNG[room(name)] <= RUNG[home]]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "asc"])
def test_imports_go_down_the_ladder(module: str) -> None:
    assert room(module) in RUNG, f"{module}: its package is on no rung of the ladder"
    assert not upward(module)


def test_breaches_of_the_law_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    bad.write_text("from asc.models import build\nimport asc.audio.level")
    monkeypatch.setitem(MODULES, "asc.size.bad", bad)
    assert set(upward("asc.size.bad")) == {"asc.models", "asc.models.build", "asc.audio.level"}
    good.write_text("from asc.config import space\nimport asc.errors")
    monkeypatch.setitem(MODULES, "asc.size.good", good)
    assert upward("asc.size.good") == []


def test_every_rung_has_its_packages() -> None:
    packages = {path.name for path in (ROOT / "asc").iterdir() if (path / "__init__.py").is_file()}
    assert packages | {"launch", "ground"} == set(RUNG)


def test_light_rooms_import_nothing_heavy() -> None:
    """Import them one by one in a new process, so that a failure names the module that is at fault."""
    code = (
        "import importlib, sys\n"
        f"for name in {[name for name in ASC if room(name) in LIGHT] + ['asc.runs.record']!r}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = [m for m in {sorted(HEAVY)!r} if m in sys.modules]\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_a_launch_script(module: str) -> None:
    assert not [name for name in imports(module) if within(name, {"launch"})]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled_or_executed(module: str) -> None:
    assert not [name for name in imports(module) if within(name, PICKLERS | {"torch.load", "torch.hub"})]
    assert not list(_forbidden_calls(parsed(MODULES[module])))


def _forbidden_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in {"exec", "eval", "compile", "__import__"}:
            yield f"line {node.lineno}: {node.id}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.jit.load", "torch.hub.load"}:
            yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield f"line {node.value.lineno}: allow_pickle"
        if isinstance(node, ast.keyword) and node.arg == "shell" and ast.unparse(node.value) != "False":
            yield f"line {node.value.lineno}: shell"


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("eval('1')", 1),
        ("f = exec", 1),
        ("import torch\ntorch.load('x')", 1),
        ("np.load('x', allow_pickle=True)", 1),
        ("network.eval()\nnp.load('x', allow_pickle=False)\nre.compile('x')", 0),
    ],
)
def test_forbidden_calls_are_found(code: str, count: int) -> None:
    assert len(list(_forbidden_calls(ast.parse(code)))) == count


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_does(module: str) -> None:
    text = ast.get_docstring(parsed(MODULES[module]))
    assert text and len(text) > 20, f"{module} has no docstring"


def test_importing_asc_is_light() -> None:
    """What it imports is the ground, two empty packages, and what only its functions import."""
    code = (
        "import sys, asc; print(sorted(name for name in sys.modules if name.startswith('asc.')),"
        f" [name for name in {sorted(HEAVY)!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "['asc.errors', 'asc.search', 'asc.size'] []"


def test_a_package_that_is_a_function_too_stays_both() -> None:
    """A fresh process, because the names are those of packages that other tests have imported."""
    code = (
        "import asc, inspect, asc.search.rungs, asc.size.law\n"
        "from asc import search, size\n"
        "assert asc.search is search and asc.search.rungs and size(recipe='qat_8b').cost == asc.size.law.cost(\n"
        "    asc.config.recipes.loading.load_experiment('qat_8b'))\n"
        "print(inspect.signature(asc.search), asc.size.__doc__.split()[0])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("(*, quiet: bool = False, **options") and answer.stdout.endswith(" Compute\n")
