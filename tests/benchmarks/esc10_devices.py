"""The ESC-10 benchmark: the report's four systems through nine simulated microphones, on five folds.

python tests/benchmarks/esc10_devices.py --esc10 DIR --micirp DIR

Trains systems 1 and 4 on every fold, two at a time on one thread each. Systems 2 and 3 are system 1 calibrated on the
calibration split; a single temperature is fitted for reference. Evaluates all on the test folds and prints the table
of the README. Finished work is kept under --storage, so an interrupted run resumes where it stopped.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from asc.config.recipes.loading import load_experiment
from asc.size.law import cost

ROOT = Path(__file__).resolve().parents[2]
FOLDS = range(1, 6)
TRAINED = ("qat_8b", "16b_prune")
CALIBRATED = {"8b_calibm": "multinomial", "8b_calibo": "one_vs_rest", "temperature": "temperature"}
SCHEDULE = ("--cycles", "3", "--epochs-per-cycle", "24", "--batch-size", "16")
SMALL_DATA = ("--set", "augment.crop_s=1.5", "--set", "schedule.learning_rate_max=2e-3")
WORKERS = 2


def train(options: argparse.Namespace, recipe: str, fold: int) -> None:
    """Train a recipe on a fold, or resume it, unless it is finished."""
    name = f"{recipe}-fold{fold}"
    if model(options, recipe, fold).exists():
        return
    data = ("--data", f"esc10:{options.esc10}", "--device-irs", str(options.micirp), "--fold", str(fold))
    fresh = ("--recipe", recipe, *data, *SCHEDULE, *SMALL_DATA, "--name", name)
    what = ("--resume", name) if (options.storage / name).exists() else fresh
    launch("train.py", *what, "--storage", str(options.storage), "--mlflow-uri", "none")


def judge(options: argparse.Namespace, system: str, fold: int) -> dict[str, Any]:
    """Evaluate a system on a test fold, after calibrating it if it is a calibrated one."""
    file, folder = model(options, system, fold), options.storage / "evaluations" / f"{system}-fold{fold}"
    if system in CALIBRATED and not file.exists():
        launch("calibrate.py", str(model(options, "qat_8b", fold)), "--method", CALIBRATED[system])
    if not (folder / "evaluation.json").exists():
        launch("evaluate.py", str(file), "--split", "test", "--output", str(folder))
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return found


def model(options: argparse.Namespace, system: str, fold: int) -> Path:
    """The path of a system's model file for a fold."""
    folder: Path = options.storage / f"{'qat_8b' if system in CALIBRATED else system}-fold{fold}" / "best"
    return folder / (f"model-{CALIBRATED[system]}.safetensors" if system in CALIBRATED else "model.safetensors")


def launch(script: str, *arguments: str) -> None:
    """Run a launch script on one thread."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch" / script), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)}: {done.stderr}")
    print(f"{time.monotonic() - started:.0f} s: {script} {' '.join(arguments)}", file=sys.stderr, flush=True)


def commands(system: str) -> list[tuple[str, ...]]:
    """The commands that train and evaluate a system, as a person would type them."""
    trained = "qat_8b" if system in CALIBRATED else system
    name, best = f"{trained}-fold1", f"runs/{trained}-fold1/best"
    data = ("--data", "esc10:DIR", "--device-irs", "MICIRP", "--fold", "1")
    found: list[tuple[str, ...]] = [("train.py", "--recipe", trained, *data, *SCHEDULE, *SMALL_DATA, "--name", name)]
    file = f"{best}/model.safetensors"
    if system in CALIBRATED:
        found.append(("calibrate.py", file, "--method", CALIBRATED[system]))
        file = f"{best}/model-{CALIBRATED[system]}.safetensors"
    return [*found, ("evaluate.py", file, "--split", "test")]


def row(system: str, folds: list[dict[str, Any]]) -> str:
    """A row of the table: mean and standard deviation over the folds."""
    size = cost_kb(system)
    exposure = [{part["name"]: part for part in fold["per_exposure"]} for fold in folds]
    applied = sum(bool(fold["calibration"] and fold["calibration"]["applied"]) for fold in folds)
    cells = [
        f"`{system}`" if system != "temperature" else "`qat_8b`, one temperature",
        spread(fold["log_loss"] for fold in folds),
        spread((100 * fold["accuracy"] for fold in folds), digits=1),
        *(spread(fold[name]["log_loss"] for fold in exposure) for name in ("seen", "unseen")),
        *(spread((100 * fold[name]["accuracy"] for fold in exposure), digits=1) for name in ("seen", "unseen")),
        spread(fold["calibration_error"] for fold in folds),
        f"{applied} of {len(folds)}" if system in CALIBRATED else "",
        f"{size:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def spread(values: Iterable[float], *, digits: int = 3) -> str:
    """Format mean and standard deviation."""
    found = list(values)
    return f"{statistics.mean(found):.{digits}f} \u00b1 {statistics.stdev(found):.{digits}f}"


def cost_kb(system: str) -> float:
    """KB (1,024 bytes) of the system as asc stores it, without pruned zeros."""
    experiment = load_experiment("qat_8b" if system in CALIBRATED else system)
    stored = cost(experiment).stored
    return stored.nonzero_bytes / 1024


def at_once(work: Callable[..., Any], jobs: list[tuple[str, int]]) -> list[Any]:
    """Run `work(system, fold)` for all jobs, WORKERS at a time, and return the results in order."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(lambda job: work(*job), jobs))


def main() -> None:
    """Train and evaluate what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc10", type=Path, required=True, metavar="DIR")
    parser.add_argument("--micirp", type=Path, required=True, metavar="DIR")
    parser.add_argument("--storage", type=Path, default=Path("runs/esc10-devices"), metavar="DIR")
    options = parser.parse_args()
    at_once(lambda *job: train(options, *job), [(recipe, fold) for fold in FOLDS for recipe in TRAINED])
    systems = ("qat_8b", "8b_calibm", "8b_calibo", "temperature", "16b_prune")
    columns = "system | log loss | accuracy % | seen | unseen | seen % | unseen % | ECE | applied | KB"
    print(f"| {columns} |\n|{'---|' * len(columns.split('|'))}")
    for system in systems:
        print(row(system, at_once(lambda *job: judge(options, *job), [(system, fold) for fold in FOLDS])))
    print("\nThe commands behind a row, for fold 1:\n")
    for system in systems:
        print(f"{system}:")
        print("".join(f"    python launch/{script} {' '.join(words)}\n" for script, *words in commands(system)))


if __name__ == "__main__":
    main()
