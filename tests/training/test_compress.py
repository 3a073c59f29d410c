"""Compression after training: check the network against the size law and calibrate it if that helps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.model_info import rounded
from asc.models.build import build_network
from asc.models.network import Network
from asc.models.stored import StoredNet
from asc.run_files import MODEL_FILE
from asc.size.law import cost
from asc.size.stored_items import stored_items
from asc.training import prune
from asc.training.compress import calibrated, check_items, compressed, targets_and_groups
from asc.training.train import train
from asc.training_results import Completed, Signal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tiny_csv: Path, tiny_cache: Path) -> Dataset:
    splits = ("train", "valid", "calibration")
    return open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=8000, cache=tiny_cache, splits=splits)


@pytest.fixture(scope="module", params=["int8", "float16"])
def trained(
    request: pytest.FixtureRequest,
    tiny_experiment: Experiment,
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[StoredNet, Experiment]:
    """A stored network trained without calibration, and its experiment."""
    changes = {"schedule.epochs_per_cycle": 8, "compression.storage": request.param, "augment.mixup_alpha": 0.0}
    experiment = tiny_experiment.updated(changes)
    folder = tmp_path_factory.mktemp(request.param)
    end = train(experiment, dataset, folder=folder, on_epoch=lambda metrics: Signal.CONTINUE, device=CPU)
    assert isinstance(end, Completed) and end.calibration is None
    return load_model(folder / MODEL_FILE)[0], experiment


def sharpened(network: StoredNet, factor: float) -> StoredNet:
    """The same network with its logits multiplied by `factor`."""
    from asc.training.calibrate import fuse

    return fuse(network, np.eye(4) * factor, np.linspace(-20, 20, 40).reshape(10, 4))


def test_without_a_method_the_network_is_not_calibrated(
    trained: tuple[StoredNet, Experiment], dataset: Dataset
) -> None:
    network, experiment = trained
    assert calibrated(network, experiment, dataset, CPU) == (network, None)


@pytest.mark.parametrize("method", ["temperature", "multinomial", "one_vs_rest"])
def test_a_badly_calibrated_network_improves_without_a_change_in_size(
    trained: tuple[StoredNet, Experiment], dataset: Dataset, method: str
) -> None:
    network, experiment = trained[0], trained[1].updated({"calibration.method": method})
    timid = sharpened(network, 0.05)
    better, report = calibrated(timid, experiment, dataset, CPU)
    assert report is not None and report.applied and report.split == "calibration" and not report.optimistic
    assert report.clips == len(dataset.indices("calibration")) and report.log_loss_method < report.log_loss_uncalibrated
    assert {k: (v.shape, v.dtype) for k, v in better.state_dict().items()} == {
        k: (v.shape, v.dtype) for k, v in network.state_dict().items()
    }
    validator = Evaluator(dataset, "valid", experiment.front_end, CPU)
    assert validator.evaluate(better).log_loss < validator.evaluate(timid).log_loss


def test_without_a_gain_in_cross_validation_the_network_is_not_changed(
    trained: tuple[StoredNet, Experiment], dataset: Dataset
) -> None:
    network, experiment = trained[0], trained[1].updated({"calibration.method": "temperature"})
    once, _ = calibrated(network, experiment, dataset, CPU)
    again, report = calibrated(once, experiment, dataset, CPU)
    assert report is not None and not report.applied
    assert again is once


def test_the_fused_network_gives_the_probabilities_of_the_factors(
    trained: tuple[StoredNet, Experiment], dataset: Dataset
) -> None:
    """Probabilities of the stored network equal softmax(C z) up to the rounding of the last layer."""
    from asc.training.calibrate import fit, fuse

    network, experiment = trained
    raw, clips = Evaluator(dataset, "calibration", experiment.front_end, CPU).logits(network.raw_logits)
    targets, groups = targets_and_groups(dataset, clips.tolist())
    found = fit(raw.numpy(), targets, groups, method="multinomial", split="calibration")
    expected = torch.softmax(raw @ torch.from_numpy(found.factors).T, dim=1)
    fused = fuse(network, found.factors, raw.numpy())
    logits, _ = Evaluator(dataset, "calibration", experiment.front_end, CPU).logits(fused.raw_logits)
    assert torch.allclose(torch.softmax(logits, dim=1), expected, atol=0.02)


def test_calibration_keeps_the_pruned_zeros_of_the_last_layer(
    tiny_experiment: Experiment, dataset: Dataset, tmp_path: Path
) -> None:
    experiment = tiny_experiment.updated({"compression.prune_ratio": 0.5, "calibration.method": "temperature"})
    end = train(experiment, dataset, folder=tmp_path, on_epoch=lambda metrics: Signal.CONTINUE, device=CPU)
    assert isinstance(end, Completed) and end.calibration is not None
    network, info = load_model(tmp_path / MODEL_FILE)
    assert info == rounded(replace(info, calibration=end.calibration))
    timid, report = calibrated(sharpened(network, 0.05), experiment, dataset, CPU)
    assert report is not None and report.applied
    zeros = network.dense.weight == 0
    assert zeros.any() and torch.equal(timid.dense.weight == 0, zeros)


def made(experiment: Experiment) -> Network:
    network = build_network(experiment.architecture, experiment.front_end, seed=0).train()
    network(torch.randn(4, 1, experiment.front_end.mel_bands, 20))
    return network.eval()


def test_a_network_whose_size_is_not_the_predicted_one_is_refused(tiny_experiment: Experiment) -> None:
    experiment = tiny_experiment.updated({"compression.prune_ratio": 0.5})
    with pytest.raises(AssertionError, match="size law predicted"):
        compressed(made(experiment), {}, experiment)
    items = stored_items(experiment)
    network = made(experiment)
    masks = prune.smallest(network, items, 0.5)
    prune.hold(network, masks)
    _, stored = compressed(network, masks, experiment)
    assert stored == cost(experiment).stored


def test_unpredicted_stored_items_are_refused(tiny_experiment: Experiment) -> None:
    state = compressed(made(tiny_experiment), {}, tiny_experiment)[0].state_dict()
    check_items(state, tiny_experiment)
    with pytest.raises(AssertionError, match="stored items differ"):
        check_items({**state, "more": torch.zeros(1)}, tiny_experiment)
