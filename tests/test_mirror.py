"""Tests mirror `asc/`: every module has its own test file, or is listed here with what tests it instead."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "api/evaluating": "api/test_calls, launch/test_evaluate",
    "api/results": "api/test_calls, test_documented: docs/python.md",
    "api/searching": "api/test_calls, test_documented, launch/test_search",
    "api/training": "api/test_calls, launch/test_train",
    "console/evaluate_options": "api/test_keywords, launch/test_evaluate",
    "atomic_folder": "data/test_store, data/download/test_download: killed, full and shared folders",
    "audio/av_source": "audio/test_av_audio: every container from a file and a pipe",
    "audio/coded_lengths": "audio/test_audio_file, data/test_sound_files: lengths of real files",
    "audio/endless_header": "inference/test_sound_stream: AIFF and Wave64 from a pipe",
    "audio/level": "inference/test_predict, data/test_store: rounding to 16 bits",
    "audio/opened_file": "audio/test_audio_file, data/test_sound_files: every format, with and without lengths",
    "audio/sound": "audio/test_audio_file, inference/test_listening: resampled like scipy",
    "audio/pcm_lengths": "data/test_sound_files, inference/test_pcm: placeholder lengths",
    "config/architecture": "config/test_experiment, topology/",
    "config/augment": "config/test_experiment",
    "config/data_choice": "data/test_manifest: what --data names",
    "config/front_end": "config/test_experiment, audio/test_frontend",
    "config/recipes/loading": "config/test_experiment: recipes, files, overrides",
    "console/options": "launch/: every script's command line",
    "console/train_options": "launch/test_train",
    "data/download/fetch": "data/download/test_download: against a real server on loopback",
    "data/download/packages": "data/download/test_download",
    "data/packing": "data/test_store",
    "data/readers": "data/test_manifest: reading every kind of set",
    "data/rows": "a dataclass: data/test_manifest",
    "data/sources": "data/test_store, data/test_devices",
    "data/store_index": "data/test_store",
    "data/synthetic/synthetic_scenes": "data/synthetic/test_synthetic",
    "data/synthetic_devices": "data/synthetic/test_synthetic",
    "data/synthetic_sound": "data/synthetic/test_synthetic",
    "data/table": "data/test_manifest, data/test_tau",
    "models/activation_grid": "models/test_fake_quantised, models/test_norm_on_grid",
    "runs/events": "runs/test_journal: every event is written and read back",
    "export/formats": "export/test_job, launch/test_export",
    "export/graph": "topology/test_contract, export/test_executorch: both storages, the shortest clip",
    "export/micro": "export/test_litert, if tflite-micro is installed",
    "export/onnx_alike": "export/test_onnx, topology/test_contract",
    "export/onnx_flat": "export/test_onnx: both kinds of file agree",
    "export/onnx_float16": "export/test_onnx, topology/test_contract",
    "export/onnx_int8": "export/test_onnx, topology/test_contract",
    "export/onnx_numbers": "export/test_onnx, export/test_onnx_bytes",
    "export/onnx_parameters": "export/test_onnx, topology/test_contract: packed and plain functions",
    "export/onnx_parts": "export/test_onnx",
    "export/onnx_text": "export/test_onnx: the functions are parsed by onnx",
    "inference/stream_window": "inference/test_stream: against predict on the window",
    "inference/waveforms": "inference/test_predict",
    "model_file/model_header": "model_file/test_artefact: forged and damaged files",
    "models/conversion": "models/test_integer, models/test_float16, models/test_stored",
    "models/layered": "models/test_network, models/test_stored",
    "report/best_figures": "report/test_best",
    "report/colours": "names alone",
    "report/page_tables": "report/test_page",
    "report/measure": "report/test_cautions, report/test_comparison",
    "report/plot": "report/test_figures",
    "report/finalists": "report/test_page",
    "results": "dataclasses, which everything uses",
    "training_results": "dataclasses: training/test_train, runs/test_journal",
    "run_files": "names alone",
    "runs/training_run": "launch/test_train",
    "search/cluster/distilled": "launch/test_search_final: killed between teachers and finals",
    "search/cluster/environment": "launch/test_search: what Ray's processes see",
    "search/cluster/lean_node": "launch/test_search: what Ray starts",
    "search/cluster/slots": "launch/test_search_workers",
    "search/cluster/study": "launch/test_search, launch/test_search_faults",
    "search/options": "launch/test_search, search/test_settings",
    "search/points": "search/test_conductor: what is asked, refused, tried first, and told after a resume",
    "search/tpe": "search/test_sampler: what Optuna is told, and what it suggests",
    "size/items": "a dataclass: size/test_law",
    "size/stored_items": "size/test_law, models/test_network, topology/test_contract",
    "topology/describe": "topology/test_resnet_se, topology/test_topology",
    "topology/layers": "topology/test_topology",
    "training/batches": "training/test_train, training/test_distill",
    "tracking/served_model": "tracking/test_model: a real server",
    "tracking/update": "tracking/test_content: figures, params and times as they are sent",
    "tracking/session": "launch/test_search: tracked, and with a dead server",
}


def module_names() -> set[str]:
    files = (ROOT / "asc").rglob("*.py")
    return {str(path.relative_to(ROOT / "asc").with_suffix("")) for path in files if path.name != "__init__.py"}


def has_tests(module: str) -> bool:
    folder, _, name = module.rpartition("/")
    return (ROOT / "tests" / folder / f"test_{name}.py").is_file()


def test_every_module_has_tests_or_is_listed() -> None:
    untested = {name for name in module_names() if not has_tests(name)}
    assert untested == set(ELSEWHERE), (
        "give a new module a test file, or list here what tests it; remove outdated lines"
    )


def test_the_listed_test_files_exist() -> None:
    for module, place in ELSEWHERE.items():
        for word in place.replace(",", " ").replace(":", " ").split():
            if "/test_" in word or word.startswith("test_"):
                assert (ROOT / "tests" / f"{word}.py").is_file(), f"{module}: {word}"


def test_the_search_package_says_what_each_of_its_modules_is_for() -> None:
    """It has too many to find one by its name alone."""
    package = ROOT / "asc" / "search"
    named = (ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8"))) or "").split()
    assert {path.stem for path in package.glob("*.py")} - {"__init__"} - set(named) == set()
