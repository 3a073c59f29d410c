"""CPU time per second of a followed stream for windows of 2, 10 and 60 s, and its difference from `predict`.

python tests/benchmarks/stream_cost.py [--recipe qat_8b] [--seconds 90]
python tests/benchmarks/stream_cost.py --model runs/NAME/best/model.safetensors --esc10 DIR

The first form runs an untrained network of a recipe, its ranges set, on noise and one thread. It measures this
process's CPU time. The windows take turns in every round, so that other work on the machine affects all of them. The
second form compares a model's stream at 10 s with `predict` on the same 10 s, two ESC-10 clips of one class, for 100
pairs.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import asc
from asc.audio.audio_file import decode
from asc.config.data_choice import DataChoice
from asc.config.recipes.loading import load_experiment
from asc.inference.predict import Model
from asc.inference.stream import Follower
from asc.model_file.model_info import DataIdentity, longest
from asc.models.build import build_network
from asc.models.conversion import to_stored

WINDOWS_S = (2, 10, 60)
ROUND_S = 10


def untrained(recipe: str) -> Model:
    """A recipe's network with batch norms and ranges set by noise. It costs the same as a trained one."""
    experiment = load_experiment(recipe)
    network = build_network(
        experiment.architecture, experiment.front_end, seed=0, storage=experiment.compression.storage
    ).train()
    for _ in range(2):
        network(torch.randn(4, 1, experiment.front_end.mel_bands, 200, generator=torch.Generator().manual_seed(0)))
    labels = tuple(f"scene{number}" for number in range(experiment.architecture.classes))
    data = DataIdentity(choice=DataChoice("none"), digest="0" * 12)
    return Model(to_stored(network), longest(experiment, labels, data))


def costs(model: Model, seconds: int) -> None:
    """Print CPU time per second of audio, measured after the longest window is full."""
    rate_hz, random = model.sample_rate_hz, np.random.default_rng(0)
    followers = {window_s: Follower(model, rate_hz, window_s=window_s) for window_s in WINDOWS_S}
    spent = dict.fromkeys([*WINDOWS_S, "predict"], 0.0)
    for follower in followers.values():
        follower.feed(noise(random, max(WINDOWS_S) * rate_hz))
    for _ in range(seconds // ROUND_S):
        sound = noise(random, ROUND_S * rate_hz)
        for window_s, follower in followers.items():
            began = time.process_time()
            follower.feed(sound)
            spent[window_s] += time.process_time() - began
        began = time.process_time()
        model.predict(sound, rate_hz)
        spent["predict"] += time.process_time() - began
    heard = seconds // ROUND_S * ROUND_S
    for window_s in WINDOWS_S:
        each, ratio = spent[window_s] / heard, spent[window_s] / spent[10]
        print(f"window {window_s:>2} s: {1000 * each:.1f} ms of CPU per second of audio, {ratio:.2f} of that for 10 s")
    print(f"predict on 10 s: {1000 * spent['predict'] / heard:.1f} ms per second of audio, so to predict the latest")
    print(f"10 s again every second would take {10 * spent['predict'] / spent[10]:.1f} times what the stream takes")
    print(f"real-time factor {spent[10] / heard:.3f} on one thread")


def noise(random: np.random.Generator, samples: int) -> NDArray[np.float32]:
    """White noise, (samples,) float32."""
    return (0.05 * random.standard_normal(samples)).astype(np.float32)


def agreement(model: Model, folder: Path) -> None:
    """Print how often and how far the stream at 10 s differs from `predict`."""
    rate_hz, clips = model.sample_rate_hz, dict[str, list[Path]]()
    with (folder / "meta.csv").open() as file:
        for row in csv.DictReader(file):
            clips.setdefault(row["label"], []).append(folder / row["filename"])
    agreed, apart = 0, []
    for files in clips.values():
        for first, second in zip(files[:20:2], files[1:20:2], strict=True):
            pair = [decode(file, rate_hz) for file in (first, second)]
            sound = np.resize(np.concatenate(pair), 10 * rate_hz)
            said, expected = Follower(model, rate_hz).feed(sound)[-1].prediction, model.predict(sound, rate_hz)
            agreed += said.label == expected.label
            apart.append(float(np.abs(np.subtract(said.probabilities, expected.probabilities)).sum() / 2))
    print(f"{agreed} of {len(apart)} labels agree; total variation of the probabilities: mean {np.mean(apart):.3f}, ")
    print(f"median {np.median(apart):.3f}, largest {max(apart):.3f}")


def main() -> None:
    """Measure cost, or agreement if --esc10 is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qat_8b", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=90, metavar="S")
    parser.add_argument("--model", type=Path, metavar="FILE")
    parser.add_argument("--esc10", type=Path, metavar="DIR")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = asc.load(options.model) if options.model else untrained(options.recipe)
    if options.esc10:
        agreement(model, options.esc10)
    else:
        costs(model, options.seconds)


if __name__ == "__main__":
    main()
