"""Record learning curves: train random points of search spaces on ESC-10 with nine devices, one after the other.

    OMP_NUM_THREADS=1 python tests/benchmarks/record_curves.py --esc10 DIR --micirp DIR [--until HH:MM] [--file FILE]

Points of `idlab128`, `robust128` and `families128` are drawn in turn, repaired to 128 KB as a search does, and trained
for cycles of 1, 4 and 16 epochs. The first of each space is the reference. About one training in seven repeats an
earlier point with another seed, which shows the noise of seeds. Curves are on the validation clips of fold 1, what a
search would see; at the ends of cycles the network is also judged on the test clips, of devices that training has
heard and of others. Every point is appended to the file; what is there is not trained again. Crops, sample rate and
front end are small, so that a point takes about a minute on one core.
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from itertools import count
from pathlib import Path

import torch
from curves import FILE, Curve, Figures, append, read

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.data.dataset import Dataset, default_cache, open_dataset
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.tensors import read_tensors
from asc.models.build import build_network
from asc.results import Evaluation
from asc.run_files import LAST_EPOCH, MODEL_FILE
from asc.search.repair import Budget, Candidate, repair
from asc.size.rules import rule
from asc.training.train import train
from asc.training_results import Completed, EpochMetrics, Signal
from asc.typed import Scalar, Value

SPACES = ("idlab128", "robust128", "families128")
BUDGET = Budget(rule=rule("dcase2021"), kilobytes=128)
CHANGES: Mapping[str, Value] = {
    "schedule.cycles": 3,
    "schedule.epochs_per_cycle": 1,
    "schedule.cycle_growth": 4,
    "schedule.batch_size": 8,
    "augment.crop_s": 1.0,
    "front_end.sample_rate_hz": 22_050,
    "front_end.dft_points": 1024,
    "front_end.mel_bands": 64,
    "front_end.hop_s": 0.03,
}
_CPU = torch.device("cpu")


def reference(space: Space) -> Experiment:
    """The config of trial 0 before repair: the report's, with the settings of the space and those of this recording."""
    return load_experiment("qat_8b").updated({**space.settings, **CHANGES, "architecture.classes": 10})


def jobs() -> Iterator[tuple[str, int, int]]:
    """Space, number of the point, seed: without end."""
    for turn in count():
        yield from ((name, turn, 0) for name in SPACES)
        if turn % 2:
            repeat = turn // 2
            yield SPACES[repeat % 3], repeat // 3, 1


class Recorder:
    """Trains points on one data set."""

    def __init__(self, choice: DataChoice, recorded: Iterable[Curve]) -> None:
        """Open, or first pack, the data. A point with the config of a recorded one is not trained again."""
        self._recorded = {_hashable(curve.config): curve for curve in recorded}
        rate = int(CHANGES["front_end.sample_rate_hz"])  # type: ignore[arg-type]
        splits = ("train", "valid", "test")
        self._data: Dataset = open_dataset(choice, sample_rate_hz=rate, cache=default_cache(), splits=splits)
        self._judges: dict[FrontEnd, Evaluator] = {}

    def record(self, space_name: str, number: int, seed: int) -> Curve:
        """The curve of a point."""
        space = load_space(space_name)
        point = space.sample(random.Random(f"{space_name} {number}")) if number else {}
        candidate = repair(reference(space), space, point, BUDGET)
        if candidate is None:
            return Curve(space=space_name, number=number, seed=seed, point=point, outcome="refused")
        experiment = candidate.experiment.updated({"seed": seed})
        key = _hashable(experiment.flat())
        if key not in self._recorded:
            self._recorded[key] = self._train(experiment, candidate)
        return replace(self._recorded[key], space=space_name, number=number, seed=seed, point=point)

    def _train(self, experiment: Experiment, candidate: Candidate) -> Curve:
        history: list[EpochMetrics] = []
        test: dict[str, Figures] = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)

            def on_epoch(metrics: EpochMetrics) -> Signal:
                history.append(metrics)
                if metrics.epoch in experiment.schedule.cycle_ends:
                    test[str(metrics.epoch)] = self._judged(experiment, folder)
                return Signal.CONTINUE

            end = train(experiment, self._data, folder=folder, on_epoch=on_epoch, device=_CPU)
            completed = end if isinstance(end, Completed) else None
            if completed:
                network, _ = load_model(folder / MODEL_FILE)
                test["stored"] = _figures(self._judge(experiment).judge(network))
        return Curve(
            space="",
            number=0,
            seed=experiment.seed,
            point={},
            outcome="completed" if completed else "diverged",
            config=experiment.flat(),
            size_bytes=candidate.cost.stored.size_bytes,
            nonzero_bytes=candidate.cost.stored.nonzero_bytes,
            macs_per_second=round(candidate.cost.macs_per_second),
            log_losses=tuple(round(one.valid_log_loss, 5) for one in history),
            accuracies=tuple(round(one.valid_accuracy, 5) for one in history),
            seconds=tuple(round(one.seconds, 3) for one in history),
            best_epoch=completed.best_epoch if completed else None,
            final_log_loss=completed.evaluation.log_loss if completed else None,
            final_accuracy=completed.evaluation.accuracy if completed else None,
            test=test,
        )

    def _judged(self, experiment: Experiment, folder: Path) -> Figures:
        """The figures on test clips of the network in the last checkpoint."""
        tensors, _ = read_tensors(folder / LAST_EPOCH)
        storage = experiment.compression.storage
        network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage)
        own = {key.removeprefix("network."): t for key, t in tensors.items() if key.startswith("network.")}
        network.load_state_dict(own)
        return _figures(self._judge(experiment).evaluate(network.eval()))

    def _judge(self, experiment: Experiment) -> Evaluator:
        front_end = experiment.front_end
        if front_end not in self._judges:
            self._judges[front_end] = Evaluator(self._data, "test", front_end, _CPU)
        return self._judges[front_end]


def _hashable(config: Mapping[str, Scalar]) -> frozenset[tuple[str, Scalar]]:
    return frozenset(config.items())


def _figures(found: Evaluation) -> Figures:
    seen, unseen = (next(row for row in found.per_exposure if row.name == name) for name in ("seen", "unseen"))
    return Figures(
        log_loss=found.log_loss,
        accuracy=found.accuracy,
        seen_log_loss=seen.log_loss,
        seen_accuracy=seen.accuracy,
        unseen_log_loss=unseen.log_loss,
        unseen_accuracy=unseen.accuracy,
    )


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--esc10", type=Path, required=True, metavar="DIR")
    parser.add_argument("--micirp", type=Path, required=True, metavar="DIR")
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE", help="appended to, if it exists")
    parser.add_argument("--until", metavar="HH:MM", help="begin no further training after this time of today")
    parser.add_argument("--points", type=int, metavar="N", help="end when the file has this many curves")
    return parser.parse_args()


def main() -> None:
    """Train what the file lacks, until the time or the number of curves is reached."""
    options = read_options()
    torch.set_num_threads(1)
    if not options.file.exists():
        versions = {name: version(name) for name in ("torch", "numpy")} | {"python": platform.python_version()}
        data = "ESC-10 fold 1, nine devices (MicIRP)"
        processor = f"{platform.machine()}, one thread"
        append(options.file, {"data": data, "changes": CHANGES, "versions": versions, "processor": processor})
    recorded = read(options.file)[1]
    known = {curve.key for curve in recorded}
    recorder = Recorder(DataChoice(f"esc10:{options.esc10}", device_irs=str(options.micirp)), recorded)
    for job in jobs():
        if job in known:
            continue
        if (options.until and time.strftime("%H:%M") >= options.until) or len(known) == options.points:
            return
        started = time.monotonic()
        curve = recorder.record(*job)
        append(options.file, curve)
        known.add(job)
        text = f"{len(known)}: {job} {curve.outcome} {curve.final_log_loss} in {time.monotonic() - started:.0f} s"
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
