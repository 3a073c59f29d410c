"""The ESC-10 benchmark: networks on nine simulated microphones, three of which are never heard in training.

python tests/benchmarks/esc10_devices.py --esc10 DIR --micirp DIR [--table report|families|front_ends]

`report` is the report's four systems: systems 1 and 4 are trained, 2 and 3 are system 1 calibrated on the calibration
split, and a single temperature is fitted for reference. `families` is one network of each family, and `front_ends` is
the report's network with other hops and windows; within such a table, all train with the same schedule and the same
augmentation. Two trainings run at a time, on one thread each. All are evaluated on the test folds. Finished work is
kept under --storage, so an interrupted run resumes where it stopped.
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
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.run_files import JOURNAL
from asc.size.law import cost

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
CYCLES = 3
Table = Literal["report", "families", "front_ends"]


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A row of a table: a recipe with changes, and perhaps a calibration of the network that `trained` names."""

    name: str
    recipe: str = "qat_8b"
    changes: tuple[str, ...] = ()
    trained: str | None = None
    method: str | None = None

    @property
    def training(self) -> str:
        """The name of the training that the row's network comes from."""
        return self.trained or self.name

    @property
    def file(self) -> str:
        """The name of the row's model file in the training's folder `best/`."""
        return f"model-{self.method}.safetensors" if self.method else "model.safetensors"

    def settings(self) -> tuple[str, ...]:
        """The changes to the recipe, those of the benchmark first."""
        return "augment.crop_s=1.5", "schedule.learning_rate_max=2e-3", *self.changes

    def experiment(self) -> Experiment:
        """The experiment that is trained, but for its schedule."""
        pairs = (setting.split("=", 1) for setting in self.settings())
        return load_experiment(self.recipe).updated({key: json.loads(value) for key, value in pairs})


def calibrated(name: str, method: str) -> System:
    """The report's system 1 with a calibration."""
    return System(name=name, trained="qat_8b", method=method)


REFERENCE = System(name="qat_8b")
LIKE_THE_REFERENCE = (
    "augment.speed_factors=[0.85,1.0,1.15]",
    "augment.mixup_alpha=0.2",
    "augment.freq_mixstyle_p=0.0",
    "augment.frequency_mask_bands=0",
    "augment.roll_s=0.0",
    "schedule.weight_decay=1e-4",
)
IN_8_BITS = 'compression.storage="int8"'
MEAN_REMOVED = 'front_end.normalisation="mean_over_time"'
WINDOWS = {30: (0.030, 4096), 93: (0.0928, 4096), 186: (0.1857, 8192)}
"""Windows by their milliseconds: seconds that just fit the DFT at 44.1 kHz, and its points."""


def front_end(hop_ms: int, window_ms: int) -> System:
    """The report's network with another hop and window."""
    window_s, points = WINDOWS[window_ms]
    changes = (f"front_end.hop_s={hop_ms / 1000}", f"front_end.window_s={window_s}", f"front_end.dft_points={points}")
    same = (hop_ms, window_ms) == (10, 30)
    return System(name=f"hop{hop_ms}-window{window_ms}", changes=changes, trained="qat_8b" if same else None)


def family(name: str, recipe: str, *changes: str) -> System:
    """A recipe with the reference's augmentation."""
    return System(name=name, recipe=recipe, changes=(*LIKE_THE_REFERENCE, *changes))


TABLES: dict[Table, tuple[System, ...]] = {
    "report": (
        REFERENCE,
        calibrated("8b_calibm", "multinomial"),
        calibrated("8b_calibo", "one_vs_rest"),
        calibrated("temperature", "temperature"),
        System(name="16b_prune", recipe="16b_prune"),
    ),
    "families": (
        REFERENCE,
        family("cp_mobile-16b", "cp_mobile_dcase2024"),
        family("cp_mobile-8b", "cp_mobile_dcase2024", IN_8_BITS),
        family("cp_mobile-8b-mean-removed", "cp_mobile_dcase2024", IN_8_BITS, MEAN_REMOVED),
        family("bc_resnet-16b", "bc_resnet_asc"),
    ),
    "front_ends": tuple(front_end(hop, window) for window in WINDOWS for hop in (10, 20, 31)),
}


def training_command(options: argparse.Namespace, system: System, fold: int) -> tuple[str, ...]:
    """The arguments of launch/train.py that train a system on a fold."""
    schedule = ("--cycles", str(CYCLES), "--epochs-per-cycle", str(options.epochs_per_cycle), "--batch-size", "16")
    data = ("--data", f"esc10:{options.esc10}", "--device-irs", str(options.micirp), "--fold", str(fold))
    settings = (word for setting in system.settings() for word in ("--set", setting))
    return "--recipe", system.recipe, *data, *schedule, *settings, "--name", f"{system.training}-fold{fold}"


def train(options: argparse.Namespace, system: System, fold: int) -> None:
    """Train a system on a fold, or resume it, unless it is finished."""
    folder = options.storage / f"{system.training}-fold{fold}"
    if (folder / "best" / "model.safetensors").exists():
        return
    what = ("--resume", folder.name) if folder.exists() else training_command(options, system, fold)
    launch("train.py", *what, "--storage", str(options.storage), "--mlflow-uri", "none")


def judge(options: argparse.Namespace, system: System, fold: int) -> dict[str, Any]:
    """Evaluate a system on a test fold, after calibrating it if it is a calibrated one."""
    best = options.storage / f"{system.training}-fold{fold}" / "best"
    folder = options.storage / "evaluations" / f"{system.name}-fold{fold}"
    if system.method and not (best / system.file).exists():
        launch("calibrate.py", str(best / "model.safetensors"), "--method", system.method)
    if not (folder / "evaluation.json").exists():
        launch("evaluate.py", str(best / system.file), "--split", "test", "--output", str(folder))
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text("utf-8"))
    return found


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


def commands(options: argparse.Namespace, system: System) -> list[tuple[str, ...]]:
    """The commands that train and evaluate a system on fold 1, as a person would type them."""
    best = f"runs/{system.training}-fold1/best"
    found = [("train.py", *training_command(options, system, 1))]
    if system.method:
        found.append(("calibrate.py", f"{best}/model.safetensors", "--method", system.method))
    return [*found, ("evaluate.py", f"{best}/{system.file}", "--split", "test")]


def row(options: argparse.Namespace, system: System, folds: list[dict[str, Any]]) -> str:
    """A row of the table: mean and standard deviation over the folds."""
    needs = cost(system.experiment())
    exposure = [{part["name"]: part for part in fold["per_exposure"]} for fold in folds]
    applied = sum(bool(fold["calibration"] and fold["calibration"]["applied"]) for fold in folds)
    cells = [
        f"`{system.name}`",
        spread(fold["log_loss"] for fold in folds),
        spread((100 * fold["accuracy"] for fold in folds), digits=1),
        *(spread(fold[name]["log_loss"] for fold in exposure) for name in ("seen", "unseen")),
        *(spread((100 * fold[name]["accuracy"] for fold in exposure), digits=1) for name in ("seen", "unseen")),
        spread(fold["calibration_error"] for fold in folds),
        f"{applied} of {len(folds)}" if system.method else "",
        f"{needs.stored.nonzero_bytes / 1024:.1f}",
        f"{needs.macs_per_second / 1e6:.1f}",
        f"{epoch_seconds(options.storage, system, options.folds):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def epoch_seconds(storage: Path, system: System, folds: Iterable[int]) -> float:
    """Seconds of the fastest epoch after the first, validation included: the one that other work disturbed least."""
    found: list[float] = []
    for fold in folds:
        lines = (storage / f"{system.training}-fold{fold}" / JOURNAL).read_text("utf-8").splitlines()
        times = [entry["time_s"] for entry in map(json.loads, lines) if entry["event"] == "EpochDone"]
        found.extend(later - earlier for earlier, later in pairwise(times))
    return min(found)


def spread(values: Iterable[float], *, digits: int = 3) -> str:
    """Format mean and standard deviation."""
    found = list(values)
    deviation = f" \u00b1 {statistics.stdev(found):.{digits}f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.{digits}f}{deviation}"


def at_once(work: Callable[..., Any], jobs: list[tuple[System, int]]) -> list[Any]:
    """Run `work(system, fold)` for all jobs, WORKERS at a time, and return the results in order."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return list(pool.map(lambda job: work(*job), jobs))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc10", type=Path, required=True, metavar="DIR")
    parser.add_argument("--micirp", type=Path, required=True, metavar="DIR")
    parser.add_argument("--table", choices=list(TABLES), default="report")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="K")
    parser.add_argument("--epochs-per-cycle", type=int, default=24, metavar="N", help=f"of {CYCLES} cycles")
    parser.add_argument("--storage", type=Path, default=Path("runs/esc10-devices"), metavar="DIR")
    return parser.parse_args()


def main() -> None:
    """Train and evaluate what is missing, then print the table."""
    options = read_options()
    systems = TABLES[options.table]
    once = {system.training: system for system in systems}
    at_once(lambda *job: train(options, *job), [(system, fold) for fold in options.folds for system in once.values()])
    columns = (
        "system | log loss | accuracy % | seen | unseen | seen % | unseen % | ECE | applied | KB | MMACs | s/epoch"
    )
    print(f"| {columns} |\n|{'---|' * len(columns.split('|'))}")
    for system in systems:
        judged = at_once(lambda *job: judge(options, *job), [(system, fold) for fold in options.folds])
        print(row(options, system, judged))
    print("\nThe commands behind a row, for fold 1:\n")
    for system in systems:
        print(f"{system.name}:")
        print(
            "".join(f"    python launch/{script} {' '.join(words)}\n" for script, *words in commands(options, system))
        )


if __name__ == "__main__":
    main()
