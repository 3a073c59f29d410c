"""From a trained network to the one that is stored: compressed, checked against the size law, calibrated."""

from collections.abc import Mapping

import torch
from torch import Tensor

from asc import prune
from asc.config import Experiment
from asc.data.dataset import Dataset
from asc.models.resnet_se import ResNetSE
from asc.quant.stored import StoredNet, to_stored
from asc.results import CalibrationReport, Stored
from asc.size import cost, stored_items


def compressed(network: ResNetSE, masks: prune.Masks, experiment: Experiment) -> tuple[StoredNet, Stored]:
    """The stored form of a trained network in eval mode, and what it stores, counted on its tensors.

    Raises:
        AssertionError: that is not what the size law predicted (design decision 1).
    """
    compact = to_stored(network)
    check_items(compact.state_dict(), experiment)
    found = prune.counted(compact.state_dict(), masks)
    predicted = cost(experiment.architecture, experiment.front_end, experiment.compression).stored
    if found != predicted:
        raise AssertionError(f"the network stores {found}, but the size law predicted {predicted}")
    return compact, found


def check_items(state: Mapping[str, Tensor], experiment: Experiment) -> None:
    """Hold the tensors of a stored form against the size law, item by item.

    Raises:
        AssertionError: another name, size or width than predicted.
    """
    built = {name: (tensor.numel(), tensor.element_size()) for name, tensor in state.items()}
    items = stored_items(experiment.architecture, experiment.front_end, experiment.compression)
    predicted = {item.name: (item.count, item.bytes_each) for item in items}
    if built != predicted:
        raise AssertionError(f"built other items than predicted: {sorted(set(built.items()) ^ set(predicted.items()))}")


def calibrated(
    network: StoredNet, experiment: Experiment, dataset: Dataset, device: torch.device
) -> tuple[StoredNet, CalibrationReport | None]:
    """The network as its experiment wants it calibrated."""
    if experiment.calibration.method == "none":
        return network, None
    raise NotImplementedError
