"""A training step as a plain script has it, for `train_step.py`: torch's and torchaudio's own parts.

A `Dataset` decodes each file and computes its log-mel with torchaudio, a `DataLoader` with two workers makes batches,
and the network is asc's in float layers, prepared by torch's eager quantisation-aware training with convolution, batch
norm and ReLU fused (https://docs.pytorch.org/docs/stable/quantization.html).
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import soundfile
import torch
import torch.ao.nn.intrinsic as fused_layers
import torch.ao.quantization as torch_quantisation
import torchaudio
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.models.build import build_network
from asc.models.float_layers import FloatConvBn


class PlainClips(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Log-mel (1, bands, frames) of a random crop of each clip, and the number of its label."""

    def __init__(self, files: list[str], targets: list[int], experiment: Experiment) -> None:
        front_end = experiment.front_end
        self.files, self.targets = files, targets
        self.samples = round(experiment.augment.crop_s * front_end.sample_rate_hz)
        self.mel = torchaudio.transforms.MelSpectrogram(
            front_end.sample_rate_hz,
            n_fft=front_end.dft_points,
            win_length=front_end.window_samples,
            hop_length=front_end.hop_samples,
            n_mels=front_end.mel_bands,
            power=1.0,
        )
        self.frames = self.samples // front_end.hop_samples

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        waveform = torch.from_numpy(soundfile.read(self.files[index], dtype="float32", always_2d=True)[0].mean(axis=1))
        start = int(torch.randint(max(1, len(waveform) - self.samples + 1), ()))
        log_mel = (self.mel(waveform[start : start + self.samples]) + 1e-5).log()[:, : self.frames]
        return (log_mel - log_mel.mean(dim=-1, keepdim=True))[None], self.targets[index]


def prepared(experiment: Experiment) -> nn.Module:
    """The network in float layers with torch's fake quantisation of weights and activations."""
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage="float16").train()
    for layer in list(network.modules()):
        if isinstance(layer, FloatConvBn) and layer.norm is not None:
            norm = nn.BatchNorm2d(layer.norm.num_features)
            layer.conv = (
                fused_layers.ConvBnReLU2d(layer.conv, norm, nn.ReLU())
                if layer.relu
                else fused_layers.ConvBn2d(layer.conv, norm)
            )
            layer.norm, layer.relu = None, False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's quantisation is deprecated
        network.qconfig = torch_quantisation.get_default_qat_qconfig("x86")
        return torch_quantisation.prepare_qat(network.train(), inplace=True)


class PlainSteps:
    """Training steps of the plain pipeline, one batch after the other, epoch after epoch."""

    def __init__(self, experiment: Experiment, dataset: Dataset) -> None:
        rows = [dataset.manifest.clips[index] for index in dataset.indices("train")]
        clips = PlainClips(
            [str(Path(str(dataset.manifest.source)) / row.path) for row in rows],
            [dataset.labels.index(str(row.label)) for row in rows],
            experiment,
        )
        size = experiment.schedule.batch_size
        self.loader = DataLoader(clips, size, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True)
        self.network = prepared(experiment)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def endless(self) -> Iterator[None]:
        """Take one step for each value that is asked for."""
        while True:
            for features, targets in self.loader:
                loss = functional.cross_entropy(self.network(features), targets)
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                yield
