"""Measures the mean and standard deviation of each log-mel band over the training clips, once before training.

They standardise the bands if `front_end.normalisation` is `per_band`. The network stores them in its first layer
(`BandNorm`), so checkpoints, model files and exports hold them.
"""

import torch
from torch import Tensor

from asc.audio.frontend import LogMel
from asc.config.experiment import Storage
from asc.data.dataset import Dataset
from asc.models.conversion import to_float16
from asc.models.layers import BandNorm
from asc.models.network import Network
from asc.models.workers import Workers

SMALLEST_DEVIATION = 0.1
"""Nats. A band that varies less holds nothing but the floor, which must not be amplified."""


@torch.no_grad()
def measure_bands(network: Network, dataset: Dataset, log_mel: LogMel, workers: Workers) -> None:
    """Set the means and deviations of a network that standardises its bands; do nothing to others.

    Each of the workers, all of which must call this, measures a part of the training clips, in full length. The numbers
    are rounded as they will be stored.
    """
    for module in network.modules():
        if isinstance(module, BandNorm):
            mean, deviation = band_statistics(dataset, log_mel, workers)
            module.mean.copy_(_as_stored(mean, network.storage))
            module.deviation.copy_(_as_stored(deviation, network.storage))


def band_statistics(dataset: Dataset, log_mel: LogMel, workers: Workers) -> tuple[Tensor, Tensor]:
    """The mean and the standard deviation of each band over all frames of the training clips, (bands,) float64.

    Frames count alike, however long their clips are. A deviation is at least `SMALLEST_DEVIATION`.
    """
    clips = dataset.indices("train")
    device = log_mel.get_buffer("window").device
    sums = torch.zeros(3, log_mel.front_end.mel_bands, dtype=torch.float64, device=device)
    for clip in clips[workers.slice_of(len(clips))].tolist():
        waveform = torch.from_numpy(dataset.waveform(clip)).to(device)
        x = log_mel.log_mel(waveform[None])[0, 0].double()
        sums += torch.stack([torch.full_like(x[:, 0], x.shape[1]), x.sum(dim=1), x.square().sum(dim=1)])
    count, total, squares = workers.sum(sums)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    return mean, variance.sqrt().clamp_min(SMALLEST_DEVIATION)


def _as_stored(values: Tensor, storage: Storage) -> Tensor:
    match storage:
        case "int8":
            return values.float()
        case "float16":
            return to_float16(values)
