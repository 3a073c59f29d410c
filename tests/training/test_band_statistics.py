"""The means and deviations of bands: against numpy over all training clips, as stored, and from several workers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asc.audio.frontend import LogMel
from asc.config.experiment import Experiment, Storage
from asc.data.dataset import Dataset
from asc.model_file.artefact import load_model
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.network import Network
from asc.models.workers import ALONE, Workers
from asc.run_files import MODEL_FILE
from asc.training.band_statistics import SMALLEST_DEVIATION, band_statistics, measure_bands
from asc.training.train import train
from asc.training_results import Signal


@pytest.fixture(scope="module")
def experiment(tiny_experiment: Experiment) -> Experiment:
    return tiny_experiment.updated({"front_end.normalisation": "per_band"})


def all_frames(experiment: Experiment, dataset: Dataset) -> np.ndarray:
    """Log-mel of all training clips side by side, (bands, frames) float64."""
    log_mel = LogMel(experiment.front_end)
    clips = [log_mel.log_mel(torch.from_numpy(dataset.waveform(int(i)))[None])[0, 0] for i in dataset.indices("train")]
    return torch.cat(clips, dim=1).double().numpy()


def test_they_are_those_of_all_frames_of_the_training_clips(experiment: Experiment, tiny_dataset: Dataset) -> None:
    mean, deviation = band_statistics(tiny_dataset, LogMel(experiment.front_end), ALONE)
    frames = all_frames(experiment, tiny_dataset)
    np.testing.assert_allclose(mean.numpy(), frames.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(deviation.numpy(), frames.std(axis=1), rtol=1e-7)


class Alternating(Workers):
    """One of two workers, whose reductions only note this worker's part."""

    parts: list[Tensor] = []

    def sum(self, x: Tensor) -> Tensor:
        self.parts.append(x)
        return x


def test_the_parts_of_workers_add_up_to_the_whole(experiment: Experiment, tiny_dataset: Dataset) -> None:
    log_mel = LogMel(experiment.front_end)
    whole = Alternating()
    for workers in (whole, Alternating(rank=0, count=2), Alternating(rank=1, count=2)):
        band_statistics(tiny_dataset, log_mel, workers)
    everything, first, second = Alternating.parts
    assert 0 < float(first[0, 0]) < float(everything[0, 0])
    torch.testing.assert_close(first + second, everything, rtol=1e-12, atol=0)


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_a_network_holds_them_as_it_will_store_them(
    experiment: Experiment, tiny_dataset: Dataset, storage: Storage
) -> None:
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage)
    log_mel = LogMel(experiment.front_end)
    measure_bands(network, tiny_dataset, log_mel, ALONE)
    mean, deviation = band_statistics(tiny_dataset, log_mel, ALONE)
    held = network.state_dict()
    torch.testing.assert_close(held["bands.mean"], mean.float(), rtol=1e-3, atol=0)
    torch.testing.assert_close(held["bands.deviation"], deviation.float(), rtol=1e-3, atol=0)
    clip = int(tiny_dataset.indices("train")[0])
    network.train()(log_mel(torch.from_numpy(tiny_dataset.waveform(clip))[None].repeat(2, 1)))
    stored = to_stored(network.eval()).state_dict()
    for name in ("bands.mean", "bands.deviation"):
        assert torch.equal(stored[name].float(), held[name]), "nothing is rounded after training"


def test_the_first_layer_standardises_the_training_clips(experiment: Experiment, tiny_dataset: Dataset) -> None:
    network = build_network(experiment.architecture, experiment.front_end, seed=0)
    measure_bands(network, tiny_dataset, LogMel(experiment.front_end), ALONE)
    frames = torch.from_numpy(all_frames(experiment, tiny_dataset)).float()
    found = network.module_of(network.topology.layers[0])(frames[None, None])[0, 0]
    assert float(found.mean(dim=1).abs().max()) < 1e-4
    torch.testing.assert_close(found.std(dim=1, correction=0), torch.ones(16), rtol=1e-3, atol=0)


def test_a_band_without_sound_is_not_amplified(experiment: Experiment, tiny_dataset: Dataset) -> None:
    """With a floor far above the audio, all bands are constant."""
    front_end = replace(experiment.front_end, log_offset=1e6)
    mean, deviation = band_statistics(tiny_dataset, LogMel(front_end), ALONE)
    assert bool((deviation == SMALLEST_DEVIATION).all()) and float((mean - np.log(1e6)).abs().max()) < 1e-3


def test_other_networks_have_nothing_to_measure(tiny_experiment: Experiment, tiny_dataset: Dataset) -> None:
    network: Network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_bands(network, tiny_dataset, LogMel(tiny_experiment.front_end), ALONE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_model_file_holds_them(experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path) -> None:
    short = experiment.updated({"schedule.cycles": 1, "schedule.epochs_per_cycle": 1})
    train(short, tiny_dataset, folder=tmp_path, on_epoch=lambda _: Signal.CONTINUE, device=torch.device("cpu"))
    network, _ = load_model(tmp_path / MODEL_FILE)
    mean, deviation = band_statistics(tiny_dataset, LogMel(short.front_end), ALONE)
    assert torch.equal(network.state_dict()["bands.mean"], mean.float())
    assert torch.equal(network.state_dict()["bands.deviation"], deviation.float())
