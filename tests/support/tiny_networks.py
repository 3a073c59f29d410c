"""Stored networks with meaningful logits, trained for a few steps on the clips of a tiny set."""

from collections.abc import Mapping

import torch
from torch.nn import functional

from asc.audio.frontend import LogMel
from asc.config.experiment import Experiment, Storage
from asc.data.dataset import Dataset
from asc.evaluation.evaluate import Evaluator
from asc.model_file.model_info import DataIdentity, ModelInfo
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.stored import StoredNet
from asc.models.workers import ALONE
from asc.training.band_statistics import measure_bands
from asc.typed import Value

CROP_SAMPLES = 4000
FAMILIES: Mapping[str, Mapping[str, Value]] = {
    "resnet_se": {},
    "cp_mobile": {"architecture.family": "cp_mobile", "architecture.cp_mobile.base_channels": 16},
    "bc_resnet": {
        "architecture.family": "bc_resnet",
        "architecture.bc_resnet.base_channels": 8,
        "architecture.bc_resnet.bands": 2,
    },
}
"""A small network of each family: what to change in an experiment of 16 mel bands."""


def trained(experiment: Experiment, dataset: Dataset, *, storage: Storage, steps: int = 40) -> StoredNet:
    """The stored form of a network after `steps` training steps on crops of the training clips."""
    network = build_network(experiment.architecture, experiment.front_end, seed=3, storage=storage).train()
    log_mel, clips = LogMel(experiment.front_end), dataset.indices("train")
    waveforms = torch.stack([torch.from_numpy(dataset.waveform(int(clip), 0, CROP_SAMPLES)) for clip in clips])
    measure_bands(network, dataset, log_mel, ALONE)
    features, targets = log_mel(waveforms), torch.tensor([dataset.target(int(clip)) for clip in clips])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        rows = torch.randint(len(clips), (8,), generator=generator)
        loss = functional.cross_entropy(network(features[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return to_stored(network.eval())


def info_of(experiment: Experiment, dataset: Dataset, network: StoredNet) -> ModelInfo:
    """The metadata of the network's model file."""
    return ModelInfo(
        experiment=experiment,
        labels=dataset.labels,
        data=DataIdentity(choice=dataset.manifest.choice, digest=dataset.manifest.digest),
        evaluation=Evaluator(dataset, "valid", experiment.front_end, torch.device("cpu")).evaluate(network),
    )
