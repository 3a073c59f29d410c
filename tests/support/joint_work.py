"""One of the three processes that the fixture `joint` starts. Each writes its results to files.

python tests/support/joint_work.py RANK FOLDER CSV CACHE EXPERIMENT

First all three train together. Then two train together while the third does the same alone, for comparison.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

import asc.training.train
from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.data.dataset import Dataset, open_dataset
from asc.model_file.teacher_logits import TeacherLogits
from asc.models.activation_grid import ActivationQuantiser
from asc.models.batch_norm import BatchNorm1d, BatchNorm2d
from asc.models.build import build_network
from asc.models.network import Network
from asc.models.workers import ALONE, Workers, joined
from asc.training_results import EpochMetrics, Signal
from asc.typed import Value

Found = dict[str, Any]
ONE_STEP = {"schedule.batch_size": 1000}
SHORT: dict[str, Value] = {
    "schedule.cycles": 3,
    "schedule.epochs_per_cycle": 1,
    "augment.roll_s": 0.05,
    "augment.freq_mixstyle_p": 0.6,
    "augment.frequency_mask_bands": 4,
    "augment.time_mask_s": 0.05,
}
PRUNED: dict[str, Value] = {"compression.storage": "float16", "compression.prune_ratio": 0.4}
STANDARDISED: dict[str, Value] = {"front_end.normalisation": "per_band"}
GENTLE = {"schedule.learning_rate_max": 1e-3}
WILD = {**ONE_STEP, "schedule.learning_rate_max": 1e30, "schedule.learning_rate_min": 1e29}


def main(rank: int, folder: Path, csv: str, cache: Path, toml: str) -> None:
    """Do this process's share of the work."""
    torch.set_num_threads(1)
    tiny = Experiment.from_toml(Path(toml).read_text(), toml)
    six = tiny.updated(ONE_STEP)
    dataset = open_dataset(DataChoice(f"csv:{csv}"), sample_rate_hz=tiny.front_end.sample_rate_hz, cache=cache)
    join(rank, 3, folder)
    keep(folder / f"three-{rank}.json", few_rows(Trainer(joined(), dataset, folder), tiny))
    torch.distributed.destroy_process_group()
    if rank == 2:
        alone = Trainer(ALONE, dataset, folder / "alone")
        keep(folder / "alone.json", {**few_rows(alone, tiny), **trainings(alone, tiny)})
        return
    alone = Trainer(ALONE, dataset, folder)
    if rank == 0:
        alone.run("one_then_two", six, stop_after=3)
    join(rank, 2, folder)
    two = Trainer(joined(), dataset, folder)
    keep(folder / f"two-{rank}.json", {**trainings(two, tiny), **changes_of_number(two, six)})
    save_file({**layers(two.workers), **reductions(two.workers)}, folder / f"parts-{rank}.safetensors")
    torch.distributed.destroy_process_group()
    if rank == 0:
        keep(folder / "two_then_one.json", alone.run("two_then_one", six))


def join(rank: int, count: int, folder: Path) -> None:
    """Join the process group of `count` processes."""
    store = f"file://{folder / f'store{count}'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=count)


def keep(path: Path, found: Found) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(found))


def few_rows(trainer: "Trainer", tiny: Experiment) -> Found:
    """Train two epochs that end with a batch of 2 rows, fewer than the three workers."""
    clips = len(trainer.dataset.indices("train"))
    size = next(size for size in range(7, clips) if clips % size == 2)
    return {"few": trainer.run("few", tiny.updated({"schedule.batch_size": size, **PRUNED, **GENTLE}), stop_after=2)}


def trainings(trainer: "Trainer", tiny: Experiment) -> Found:
    """Train short runs: in float64, where rounding does not matter, in float32, where it may, and one that diverges."""
    return {
        "int8": trainer.run("int8", tiny.updated({**SHORT, **STANDARDISED}), stop_after=3, double=True),
        "float16": trainer.run("float16", tiny.updated({**SHORT, **PRUNED}), stop_after=3, double=True),
        "single": trainer.run("single", tiny.updated({**SHORT, **PRUNED, **GENTLE})),
        "wild": trainer.run("wild", tiny.updated(WILD)),
        "taught": trainer.run(
            "taught", tiny.updated(SHORT), stop_after=2, double=True, teacher=teacher(trainer.dataset)
        ),
    }


def changes_of_number(trainer: "Trainer", six: Experiment) -> Found:
    """Train runs that one worker resumes or started, and one whose checkpoint only the first worker sees."""
    found: Found = {
        "two_then_one": trainer.run("two_then_one", six, stop_after=3),
        "one_then_two": trainer.run("one_then_two", six),
    }
    if not trainer.workers.leads:
        trainer.folder = trainer.folder / "elsewhere"
    try:
        trainer.run("one_then_two", six)
    except RuntimeError as error:
        found["apart"] = str(error)
    return found


def teacher(dataset: Dataset) -> TeacherLogits:
    """A teacher with something else to say about each clip."""
    files = tuple(dataset.manifest.clips[clip].path for clip in dataset.indices("train"))
    logits = 3 * torch.randn(2, len(files), len(dataset.labels), generator=torch.Generator().manual_seed(2))
    return TeacherLogits(source="here", files=files, labels=dataset.labels, logits=logits, teachers=())


class Trainer:
    """Trains with the given workers and records what this worker saw."""

    def __init__(self, workers: Workers, dataset: Dataset, folder: Path) -> None:
        self.workers, self.dataset, self.folder = workers, dataset, folder

    def run(
        self,
        name: str,
        experiment: Experiment,
        *,
        stop_after: int | None = None,
        double: bool = False,
        teacher: TeacherLogits | None = None,
    ) -> Found:
        """Train and return the end, the epochs, a digest of this worker's weights and buffers after each epoch, and
        for each step the loss summed over this worker's rows.

        Only the last worker's `on_epoch` asks to stop.
        """
        networks: list[Network] = []
        heard, states, sums = [], [], []

        def built(*arguments: Any, **options: Any) -> Network:
            network = build_network(*arguments, **options)
            networks.append(network.double() if double else network)
            return networks[-1]

        def report(metrics: EpochMetrics) -> Signal:
            heard.append(dataclasses.asdict(metrics))
            states.append(digest(networks[-1]))
            last = self.workers.rank == self.workers.count - 1
            return Signal.STOP if last and metrics.epoch == stop_after else Signal.CONTINUE

        def summed(*arguments: Any, **options: Any) -> Tensor:
            loss: Tensor = cross_entropy(*arguments, **options)
            sums.append(float(loss.detach()))
            return loss

        log_mel, cpu = DoubleLogMel if double else LogMel, torch.device("cpu")
        with (
            patch("asc.training.train.build_network", built),
            patch("asc.training.train.LogMel", log_mel),
            patch("asc.evaluation.evaluate.LogMel", log_mel),
            patch("torch.nn.functional.cross_entropy", summed),
        ):
            end = asc.training.train.train(
                experiment,
                self.dataset,
                folder=self.folder / name,
                on_epoch=report,
                device=cpu,
                workers=self.workers,
                teacher=teacher,
            )
        found = {"outcome": type(end).__name__, "end": dataclasses.asdict(end), "epochs": heard}
        return {**found, "states": states, "sums": sums}


class DoubleLogMel(LogMel):
    """Log-mel in float64: (batch, samples) to (batch, 1, bands, frames)."""

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__(front_end)
        self.double()

    def forward(self, waveform: Tensor) -> Tensor:
        return super().forward(waveform.double())


def digest(network: Network) -> str:
    """Hash every bit of the weights and buffers with SHA-256."""
    sha = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sha.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return sha.hexdigest()


def layers(workers: Workers) -> dict[str, Tensor]:
    """Run batch norms and observers on a batch whose last row is the second worker's and the rest the first's.

    The mean is 500 times the standard deviation, so float32 would lose the variance in a difference of squares.
    """
    found: dict[str, Tensor] = {}
    for kind, norm, shape in (("map", BatchNorm2d(3), (5, 3, 4, 6)), ("vector", BatchNorm1d(4), (7, 4))):
        generator = torch.Generator().manual_seed(1)
        x, gradient = 50 + 0.1 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)
        found |= {f"{kind}.x": x, f"{kind}.gradient": gradient}
        mine = slice(None, -1) if workers.leads else slice(-1, None)
        part = x[mine].to(memory_format=torch.channels_last) if kind == "map" else x[mine].clone()
        part.requires_grad_()
        norm.workers = workers
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 1.5, len(norm.weight)))
        y = norm(part)
        y.backward(gradient[mine])
        assert part.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
        found |= {f"{kind}.y": y.detach(), f"{kind}.x_gradient": part.grad}
        found |= {f"{kind}.weight_gradient": norm.weight.grad, f"{kind}.bias_gradient": norm.bias.grad}
        found |= {f"{kind}.{name}": value for name, value in norm.named_buffers()}
        for nonnegative in (False, True):
            quantiser = ActivationQuantiser(nonnegative=nonnegative)
            quantiser.workers = workers
            quantiser(gradient[mine])
            found |= {f"{kind}.{nonnegative}.{name}": value for name, value in quantiser.named_buffers()}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def reductions(workers: Workers) -> dict[str, Tensor]:
    """Call every reduction of `Workers` and return the results by name."""
    mine = torch.tensor([1.0 + workers.rank, -1.0 - workers.rank])
    taken = [torch.full((2, 3, 2, 2), float(workers.rank)).to(memory_format=torch.channels_last)]
    taken += [torch.tensor(workers.leads), torch.tensor(7 + workers.rank)]
    workers.take_from_first(taken)
    return {
        "sum": workers.sum(mine),
        "max": workers.max(mine),
        "gather": workers.gather(mine),
        "any": torch.tensor([workers.any(False), workers.any(workers.leads), workers.any(True)]),
        "agree": torch.tensor([workers.agree(-3), workers.agree(workers.rank)]),
        **{f"taken{number}": tensor.contiguous() for number, tensor in enumerate(taken)},
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5])
