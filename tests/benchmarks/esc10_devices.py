"""The standing benchmark: the report's four systems on ESC-10 through nine microphones, five folds.

python tests/benchmarks/esc10_devices.py --esc10 DIR --micirp DIR

Trains systems 1 and 4 on every fold, two at a time on one thread each; systems 2 and 3 are system 1, calibrated on the
calibration split. Evaluates all on the test folds and prints the table of the README. What is finished is kept under
--storage, so a run that was cut off goes on where it was.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDS = range(1, 6)
TRAINED = ("qat_8b", "16b_prune")
SCHEDULE = ("--cycles", "3", "--epochs-per-cycle", "24", "--batch-size", "16")
SMALL_DATA = ("--set", "augment.crop_s=1.5", "--set", "schedule.learning_rate_max=2e-3")


def train(options: argparse.Namespace, recipe: str, fold: int) -> None:
    """Train a recipe on a fold, or go on with it, unless it is finished."""
    name, storage = f"{recipe}-fold{fold}", options.storage
    if (storage / name / "best" / "model.safetensors").exists():
        return
    data = ("--data", f"esc10:{options.esc10}", "--device-irs", str(options.micirp), "--fold", str(fold))
    fresh = ("--recipe", recipe, *data, *SCHEDULE, *SMALL_DATA, "--name", name)
    what = ("--resume", name) if (storage / name).exists() else fresh
    launch("train.py", *what, "--storage", str(storage), "--mlflow-uri", "none")


def launch(script: str, *arguments: str) -> str:
    """Run a launch script on one thread; its standard output."""
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
    return done.stdout


def main() -> None:
    """Train what is not trained yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc10", type=Path, required=True, metavar="DIR")
    parser.add_argument("--micirp", type=Path, required=True, metavar="DIR")
    parser.add_argument("--storage", type=Path, default=Path("runs/esc10-devices"), metavar="DIR")
    options = parser.parse_args()
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda job: train(options, *job), [(recipe, fold) for fold in FOLDS for recipe in TRAINED]))


if __name__ == "__main__":
    main()
