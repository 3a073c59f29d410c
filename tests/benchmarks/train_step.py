"""Milliseconds a crop of each part of a training step, and the whole over a bare float32 step of the same network.

    python tests/benchmarks/train_step.py [--recipe NAME ...] [--crop-s S] [--batch N] [--threads N] [--turns N]
        [--against COMMIT] [--compiled] [--plain] [--json]

The whole step is fake-quantised: read and crop, speed, mixup, log-mel, forward, backward, optimiser. The audio is noise
in a real packed store. `bare` is forward, backward and Adam of the float32 network on ready-made features, in
channels_last, with torch's own operations; `bare, fresh` is the same without the memory that training keeps
(`asc.training.memory`), as a plain script has it; `float` is the float32 step as asc takes it (`asc.models.gradients`).
Parts and networks take turns, and the fastest turn of each row counts: CPU time with one thread, wall time with more.
`--compiled` adds the bare step under `torch.compile`, whose first step is told apart. `--plain` adds the step of a
plain pipeline (`plain_step.py`) beside the whole one, both in wall time, since the plain one reads in other processes.
With `--against`, a second process runs this file on another commit's code; the two take turns, and their ratio is
printed. The commit needs the interface of this one; what it lacks of `asc.training.memory` is left out.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from eager_torch import use_torchs_gradients
from tau_epoch import generate
from torch import Tensor
from torch.nn import functional

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.data.dataset import Dataset, open_dataset
from asc.models.build import build_network
from asc.models.network import Network
from asc.training.adam import Adam
from asc.training.augment import Batcher, change_speed, mixup, plan_epoch

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("qat_8b", "cp_mobile_dcase2024", "bc_resnet_asc")
Clock = Callable[[], float]
Times = dict[str, float]
_PLAIN_STEPS = 3  # timed as one, so that what the workers have read ahead counts less


def kept() -> AbstractContextManager[None]:
    """Training's own treatment of memory, if the measured commit has one."""
    try:
        from asc.training.memory import kept_memory
    except ImportError:
        return contextlib.nullcontext()
    return kept_memory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A network and its optimiser."""

    network: Network
    optimizer: torch.optim.Adam

    @classmethod
    def of(cls, experiment: Experiment, *, quantised: bool) -> "Trained":
        """An untrained network in training mode, without regard to the storage of the experiment."""
        network = build_network(
            experiment.architecture, experiment.front_end, seed=0, storage="int8" if quantised else "float16"
        ).train()
        return cls(network=network, optimizer=Adam(network.parameters(), lr=1e-3))

    def step(self, features: Tensor, targets: Tensor, clock: Clock) -> Times:
        """Seconds of the three parts of a step."""
        marks = [clock()]
        loss = functional.cross_entropy(self.network(features), targets)
        marks.append(clock())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(clock())
        self.optimizer.step()
        marks.append(clock())
        return dict(zip(("forward", "backward", "optimiser"), _differences(marks), strict=True))


def in_eager_torch(trained: Trained) -> Trained:
    """The same, with torch's own gradients everywhere, and its Adam as it comes."""
    use_torchs_gradients(trained.network)
    return dataclasses.replace(trained, optimizer=torch.optim.Adam(trained.network.parameters(), lr=1e-3))


def _differences(marks: list[float]) -> list[float]:
    return [after - before for before, after in zip(marks, marks[1:], strict=False)]


class Whole:
    """The whole quantised step, part by part."""

    def __init__(self, experiment: Experiment, dataset: Dataset, clock: Clock) -> None:
        self.experiment, self.dataset, self.clock = experiment, dataset, clock
        self.plan = plan_epoch(
            dataset.indices("train"),
            seed=0,
            epoch=0,
            batch_size=experiment.schedule.batch_size,
            augment=experiment.augment,
        )[0]
        self.batcher = Batcher(dataset, experiment.augment, experiment.front_end.sample_rate_hz, torch.device("cpu"))
        self.log_mel = LogMel(experiment.front_end)
        self.trained = Trained.of(experiment, quantised=True)

    def prepared(self) -> tuple[Tensor, Tensor, Times]:
        """Features and targets of a batch, and the seconds that each part took."""
        marks = [self.clock()]
        loaded = self.batcher.load(self.plan)
        marks.append(self.clock())
        waveform = change_speed(loaded.waveform, self.plan.speed, speed_factors=self.experiment.augment.speed_factors)
        marks.append(self.clock())
        targets = functional.one_hot(loaded.target, len(self.dataset.labels)).float()
        waveform, targets = mixup(waveform, targets, weight=self.plan.weight, partner=self.plan.partner)
        marks.append(self.clock())
        features = self.log_mel(waveform)
        marks.append(self.clock())
        parts = ("read and crop", "speed", "mixup", "log-mel")
        return features, targets, dict(zip(parts, _differences(marks), strict=True))

    def step(self) -> Times:
        """Seconds of each part."""
        features, targets, times = self.prepared()
        return times | self.trained.step(features, targets, self.clock)


def measured(experiment: Experiment, dataset: Dataset, turns: int, clock: Clock) -> Times:
    """Milliseconds a crop of every part, of the whole, and of the float32 steps."""
    whole, bare = Whole(experiment, dataset, clock), in_eager_torch(Trained.of(experiment, quantised=False))
    floating = Trained.of(experiment, quantised=False)
    features, targets, _ = whole.prepared()
    found: dict[str, list[float]] = {}

    def note(times: Times, name: str) -> None:
        found.setdefault(name, []).append(sum(times.values()))

    for _ in range(turns):
        bare.step(features, targets, clock)
        note(bare.step(features, targets, clock), "bare, fresh")
        with kept():
            for _ in range(2):  # the first takes the pages
                counted, plain = whole.step(), bare.step(features, targets, clock)
                ours = floating.step(features, targets, clock)
        note(plain, "bare")
        note(ours, "float")
        note(counted, "whole")
        for name, seconds in counted.items():
            note({name: seconds}, name)
    crops = len(whole.plan)
    return {name: 1000 * min(values) / crops for name, values in found.items()}


def compiled(experiment: Experiment, features: Tensor, targets: Tensor, turns: int, clock: Clock) -> Times:
    """Milliseconds a crop of the bare step under torch.compile, and the seconds of its first step."""
    bare = in_eager_torch(Trained.of(experiment, quantised=False))
    faster = dataclasses.replace(bare, network=torch.compile(bare.network))
    begun = time.perf_counter()
    try:
        faster.step(features, targets, clock)
    except Exception as error:  # the compiler's own; they differ from version to version
        print(f"torch.compile does not work here, so there is no such ratio: {type(error).__name__}", file=sys.stderr)
        return {}
    first_s = time.perf_counter() - begun
    with kept():
        steps = [sum(faster.step(features, targets, clock).values()) for _ in range(2 * turns)]
    return {"compiled": 1000 * min(steps) / len(features), "first compiled step, s": first_s}


def beside_plain(experiment: Experiment, dataset: Dataset, turns: int) -> Times:
    """Milliseconds of wall time a crop of the plain pipeline and of the whole step, in turn."""
    from plain_step import PlainSteps

    whole, steps = Whole(experiment, dataset, time.perf_counter), PlainSteps(experiment, dataset).endless()
    found: dict[str, list[float]] = {"plain, wall": [], "whole, wall": []}
    next(steps)  # starts its workers
    for _ in range(turns):
        begun = time.perf_counter()
        for _ in range(_PLAIN_STEPS):
            next(steps)
        found["plain, wall"].append((time.perf_counter() - begun) / _PLAIN_STEPS)
        with kept():
            whole.step()
            begun = time.perf_counter()
            for _ in range(_PLAIN_STEPS):
                whole.step()
            found["whole, wall"].append((time.perf_counter() - begun) / _PLAIN_STEPS)
    return {name: 1000 * min(seconds) / len(whole.plan) for name, seconds in found.items()}


def configured(recipe: str, options: argparse.Namespace) -> Experiment:
    """The recipe with the crop and batch of the options and the classes of the noise."""
    experiment = load_experiment(recipe)
    return dataclasses.replace(
        experiment,
        augment=dataclasses.replace(experiment.augment, crop_s=options.crop_s),
        schedule=dataclasses.replace(experiment.schedule, batch_size=options.batch),
    )


def here(options: argparse.Namespace) -> dict[str, Times]:
    """Measure this process's code."""
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    found = {}
    with tempfile.TemporaryDirectory() as name:
        choice = DataChoice(f"csv:{generate(Path(name), max(60, 2 * options.batch), clips_per_place=1)}")
        for recipe in options.recipe:
            experiment = configured(recipe, options)
            rate_hz = experiment.front_end.sample_rate_hz
            dataset = open_dataset(choice, sample_rate_hz=rate_hz, cache=Path(name) / "cache", splits=("train",))
            found[recipe] = measured(experiment, dataset, options.turns, clock)
            if options.plain:
                found[recipe] |= beside_plain(experiment, dataset, options.turns)
            if options.compiled:
                features, targets, _ = Whole(experiment, dataset, clock).prepared()
                found[recipe] |= compiled(experiment, features, targets, options.turns, clock)
    return found


def both(options: argparse.Namespace) -> tuple[dict[str, Times], dict[str, Times]]:
    """Measure the working tree and a commit in turn, twice each; the fastest of each row counts."""
    arguments = ["--crop-s", options.crop_s, "--batch", options.batch, "--threads", options.threads]
    arguments += ["--turns", options.turns, "--json", "--recipe", *options.recipe]
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", options.against], check=True, stdout=subprocess.PIPE
    ).stdout
    with tempfile.TemporaryDirectory() as tree:
        tarfile.open(fileobj=io.BytesIO(archive)).extractall(tree, filter="data")
        runs = [_elsewhere(code, arguments) for _ in range(2) for code in (ROOT, Path(tree))]
    return _fastest(runs[0], runs[2]), _fastest(runs[1], runs[3])


def _elsewhere(code: Path, arguments: list[Any]) -> dict[str, Times]:
    command = [sys.executable, str(Path(__file__)), *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(code)})
    times: dict[str, Times] = json.loads(done.stdout)["ms_a_crop"]
    return times


def _fastest(one: dict[str, Times], other: dict[str, Times]) -> dict[str, Times]:
    return {recipe: {name: min(ms, other[recipe][name]) for name, ms in times.items()} for recipe, times in one.items()}


def ratios(times: Times) -> Times:
    """The named ratios of one network."""
    pairs = {
        "whole_over_bare": ("whole", "bare"),
        "whole_over_bare_fresh": ("whole", "bare, fresh"),
        "whole_over_compiled": ("whole", "compiled"),
        "plain_over_whole": ("plain, wall", "whole, wall"),
    }
    return {name: times[one] / times[other] for name, (one, other) in pairs.items() if one in times and other in times}


def main() -> None:
    """Measure and print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=list(RECIPES), metavar="NAME")
    parser.add_argument("--crop-s", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found, before = both(options) if options.against else (here(options), None)
    named = {recipe: ratios(times) for recipe, times in found.items()}
    if before is not None:
        for recipe, times in found.items():
            named[recipe] |= {"whole_over_before": times["whole"] / before[recipe]["whole"]}
    if options.json:
        print(json.dumps({"ms_a_crop": found, "before": before, "ratios": named}))
        return
    for recipe, times in found.items():
        print(f"{recipe}: ms a crop of {options.crop_s:g} s, batches of {options.batch}, {options.threads} thread(s)")
        for name, ms in times.items():
            print(f"    {name:22s} {ms:8.2f}" + ("" if before is None else f"   before {before[recipe][name]:8.2f}"))
        print("    " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in named[recipe].items()))


if __name__ == "__main__":
    main()
