"""The checkpoints of a training: which are kept, and which are refused."""

from pathlib import Path

import pytest
import torch

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.errors import InputError
from asc.model_file.tensors import read_tensors, write_tensors
from asc.run_files import BEST_EPOCH, LAST_EPOCH
from asc.training.train import train
from asc.training_results import EpochMetrics, Signal, TrainingEnd

CPU = torch.device("cpu")


def run(
    experiment: Experiment, dataset: Dataset, folder: Path, stop_after: int | None = None
) -> tuple[TrainingEnd, list[EpochMetrics]]:
    heard: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> Signal:
        heard.append(metrics)
        return Signal.STOP if metrics.epoch == stop_after else Signal.CONTINUE

    return train(experiment, dataset, folder=folder, on_epoch=report, device=CPU), heard


def test_only_the_last_and_the_best_checkpoint_are_kept(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    run(tiny_experiment, tiny_dataset, tmp_path, stop_after=4)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([BEST_EPOCH, LAST_EPOCH])


def test_a_checkpoint_of_another_config_is_refused(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    run(tiny_experiment, tiny_dataset, tmp_path, stop_after=1)
    with pytest.raises(InputError, match="another config"):
        run(tiny_experiment.updated({"seed": 1}), tiny_dataset, tmp_path)


@pytest.mark.parametrize("lost", ["network.stem.conv.weight", "optimizer.0.exp_avg", "scheduler", "history"])
def test_an_incomplete_checkpoint_is_refused_in_one_sentence(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path, lost: str
) -> None:
    run(tiny_experiment, tiny_dataset, tmp_path, stop_after=1)
    tensors, header = read_tensors(tmp_path / LAST_EPOCH)
    for held in (tensors, header):
        held.pop(lost, None)
    write_tensors(tmp_path / LAST_EPOCH, tensors, header)
    with pytest.raises(InputError, match=r"last.safetensors does not hold what this training needs \(.*another --name"):
        run(tiny_experiment, tiny_dataset, tmp_path)
