"""The layers of DESIGN.md: what may import what, read from the source of every module."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIGHT = {f"asc.{name}" for name in "errors typed config recipes options train_options cli results journal".split()}
LIGHT |= {
    f"asc.{name}"
    for name in "size activations arena memory_plan budget space published sheet tables evaluation_text".split()
}
LIGHT |= {"asc.progress", "asc.data.choice", "asc.output_folder", "asc.items", "asc.file_layout", "asc.model_info"}
LIGHT |= {"asc.model_header", "asc.topology", "asc.fingerprint", "asc.stored_items"}
TORCH = {f"asc.{name}" for name in "frontend augment models quant data metrics checkpoint packs artefact".split()}
TORCH |= {f"asc.{name}" for name in "prune calibrate regression torchaudio_compat bootstrap caveats workers".split()}
LIGHT |= {"asc.prediction_text", "asc.stream_memory"}
TORCH |= {"asc.level", "asc.listening", "asc.model_card", "asc.pcm", "asc.sound_stream"}
LOOPS = {f"asc.{name}" for name in ("train", "compress", "evaluate", "predict", "recalibrate", "training_run", "runs")}
LOOPS |= {f"asc.{name}" for name in "storage mirror files follow stream".split()}
LEAVES = {f"asc.{name}" for name in ("search", "tracking", "export", "report")}
HEAVY = {"torch", "torchaudio", "numpy", "safetensors", "soundfile", "scipy", "sklearn", "ray", "optuna", "mlflow"}
HEAVY |= {"matplotlib", "pandas", "pyarrow", "onnx", "onnxruntime", "executorch", "litert_torch", "ai_edge_litert"}
HEAVY |= {"av", "tflite_micro"}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "copyreg"}
ONLY_HOMES = {"ray": "asc.search", "optuna": "asc.search", "mlflow": "asc.tracking", "matplotlib": "asc.report"}
ONLY_HOMES |= {"pandas": "asc.tracking", "pyarrow": "asc.storage"}
ONLY_HOMES |= dict.fromkeys(("onnx", "onnxruntime", "executorch"), "asc.export")
ONLY_HOMES |= dict.fromkeys(("litert_torch", "ai_edge_litert", "tflite_micro"), "asc.export")


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    _name(path): ast.parse(path.read_text("utf-8"), filename=str(path))
    for folder in ("asc", "launch")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
ASC = [name for name in MODULES if name.split(".")[0] == "asc"]


def imports(module: str) -> set[str]:
    """All that a module imports, anywhere in it: modules, and for `from a import b` both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(MODULES[module]):
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
    assert "asc.errors" in imports("asc.config") and "tomli_w" in imports("asc.config")
    assert "torch" in imports("launch.train"), "it is imported within a function"
    assert len(ASC) > 40


@pytest.mark.parametrize("module", MODULES)
def test_ray_optuna_and_mlflow_have_one_home_each(module: str) -> None:
    for library, home in ONLY_HOMES.items():
        if not within(module, {home}):
            assert not any(within(name, {library}) for name in imports(module)), f"{module} imports {library}"


@pytest.mark.parametrize("module", [name for name in ASC if within(name, LEAVES)])
def test_search_tracking_export_and_report_do_not_import_each_other(module: str) -> None:
    home = ".".join(module.split(".")[:2])
    assert not [name for name in imports(module) if within(name, LEAVES - {home})]


@pytest.mark.parametrize("module", [name for name in ASC if within(name, LIGHT)])
def test_light_modules_import_light_modules_only(module: str) -> None:
    found = imports(module)
    assert not [name for name in found if within(name, HEAVY)]
    assert not [name for name in found if within(name, {"asc"}) and name != "asc" and not within(name, LIGHT)]


@pytest.mark.parametrize("module", [name for name in ASC if within(name, TORCH)])
def test_the_torch_layer_imports_nothing_above_it(module: str) -> None:
    found = imports(module)
    assert not [name for name in found if within(name, LEAVES | LOOPS | set(ONLY_HOMES))]
    assert not [name for name in found if within(name, {"asc"}) and name != "asc" and not within(name, LIGHT | TORCH)]


@pytest.mark.parametrize("module", [name for name in ASC if within(name, LOOPS)])
def test_training_and_evaluation_know_nothing_of_search_and_tracking(module: str) -> None:
    assert not [name for name in imports(module) if within(name, LEAVES)]


@pytest.mark.parametrize("module", ASC)
def test_every_module_has_a_layer(module: str) -> None:
    assert module == "asc" or within(module, LIGHT | TORCH | LOOPS | LEAVES), f"{module}: say here which layer it is"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_a_launch_script(module: str) -> None:
    assert not [name for name in imports(module) if within(name, {"launch"})]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled_or_executed(module: str) -> None:
    assert not [name for name in imports(module) if within(name, PICKLERS | {"torch.load", "torch.hub"})]
    assert not list(_forbidden_calls(MODULES[module]))


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
def test_the_search_for_such_calls_finds_them(code: str, count: int) -> None:
    assert len(list(_forbidden_calls(ast.parse(code)))) == count


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_does(module: str) -> None:
    text = ast.get_docstring(MODULES[module])
    assert text and len(text) > 20, f"{module} has no docstring"


def test_importing_asc_is_light_and_only_load_reaches_for_more() -> None:
    assert {name for name in imports("asc") if within(name, {"asc"})} == {
        "asc.predict",
        "asc.predict.Model",
        "asc.predict.load",
    }
    code = "import sys, asc; print([name for name in ('torch', 'numpy', 'asc.predict') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
