"""Seconds per epoch of a recipe on data of TAU 2020 Mobile's size, measured on fewer clips and scaled.

python tests/benchmarks/tau_epoch.py [--recipe qat_8b] [--clips 420]

Generates clips of 10 s at 44.1 kHz and trains one epoch of the report's schedule with the real loop: batches of 64,
crops of 3 s, then validation on 15 % of the clips at full length. The time is scaled by the number of clips, since an
epoch's work is proportional to it. At TAU's size the validation clips' log-mels exceed what is cached, so they are
computed in every epoch, as in the measured one.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from asc.config.data_choice import DataChoice
from asc.config.recipes.loading import load_experiment
from asc.data.dataset import open_dataset
from asc.training.train import train
from asc.training_results import EpochMetrics, Signal

TAU_CLIPS = 13_962
RATE_HZ, CLIP_S, LABELS, CLIPS_PER_PLACE = 44_100, 10, 10, 3


def generate(folder: Path, clips: int, *, clips_per_place: int = CLIPS_PER_PLACE) -> Path:
    """Write a CSV set of noise; the content of the clips does not affect the cost of an epoch."""
    rng = np.random.default_rng(0)
    with (folder / "set.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "label", "group", "split"])
        for number in range(clips):
            label, place = number % LABELS, number // (LABELS * clips_per_place)
            noise = 0.003 * rng.standard_normal(RATE_HZ * CLIP_S).astype(np.float32)
            soundfile.write(folder / f"{number}.wav", noise, RATE_HZ, subtype="PCM_24")
            rows.writerow([f"{number}.wav", f"scene{label}", f"{label}-{place}", "train"])
    return folder / "set.csv"


def main() -> None:
    """Print the seconds per epoch, measured and scaled, and the hours of the whole schedule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qat_8b", metavar="NAME")
    parser.add_argument("--clips", type=int, default=420, metavar="N")
    options = parser.parse_args()
    experiment = load_experiment(options.recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    heard: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> Signal:
        heard.append(metrics)
        return Signal.STOP

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        choice = DataChoice(f"csv:{generate(folder, options.clips)}")
        dataset = open_dataset(choice, sample_rate_hz=RATE_HZ, cache=folder / "cache", splits=("train", "valid"))
        train(experiment, dataset, folder=folder / "run", on_epoch=report, device=device)
    seconds = heard[0].seconds
    whole = seconds * TAU_CLIPS / options.clips
    epochs = experiment.schedule.epochs
    splits = ", ".join(f"{len(dataset.indices(split))} {split}" for split in ("train", "valid"))
    on = f"{device}, {torch.get_num_threads()} threads"
    print(f"{options.recipe} on {on}: {seconds:.1f} s per epoch of {splits} clips")
    print(f"at {TAU_CLIPS:,} clips: {whole:.0f} s per epoch, {whole * epochs / 3600:.0f} hours for {epochs} epochs")


if __name__ == "__main__":
    main()
