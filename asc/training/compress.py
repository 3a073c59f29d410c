"""From a trained network to the one that is stored: compressed, checked against the size law, calibrated."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.evaluation.evaluate import Evaluator
from asc.models.network import Network
from asc.models.stored import StoredNet, to_stored
from asc.results import CalibrationReport, Stored
from asc.size.law import cost
from asc.size.stored_items import stored_items
from asc.training import prune


def compressed(network: Network, masks: prune.Masks, experiment: Experiment) -> tuple[StoredNet, Stored]:
    """The stored form of a trained network in eval mode, and what it stores, counted on its tensors.

    Raises:
        AssertionError: that is not what the size law predicted (design decision 1).
    """
    compact = to_stored(network)
    check_items(compact.state_dict(), experiment)
    predicted = cost(experiment)
    found = prune.counted(compact.state_dict(), masks, predicted.items)
    if found != predicted.stored:
        raise AssertionError(f"the network stores {found}, but the size law predicted {predicted.stored}")
    return compact, found


def check_items(state: Mapping[str, Tensor], experiment: Experiment) -> None:
    """Hold the tensors of a stored form against the size law, item by item.

    Raises:
        AssertionError: another name, size or width than predicted.
    """
    built = {name: (tensor.numel(), tensor.element_size()) for name, tensor in state.items()}
    items = stored_items(experiment)
    predicted = {item.name: (item.count, item.bytes_each) for item in items}
    if built != predicted:
        raise AssertionError(f"built other items than predicted: {sorted(set(built.items()) ^ set(predicted.items()))}")


def calibrated(
    network: StoredNet, experiment: Experiment, dataset: Dataset, device: torch.device, *, strength: float | None = None
) -> tuple[StoredNet, CalibrationReport | None]:
    """The network with the calibration that its experiment asks for, where that gains, and what came of it.

    `dataset` must have the split open that is fitted on; the size does not change. With a `strength` that is given, not
    chosen, calibration is applied in any case (`calibrate.fit`).

    Raises:
        InputError: the split is too small to calibrate on.
    """
    method, split = experiment.calibration.method, experiment.calibration.fit_on
    if method == "none":
        return network, None
    from asc.training import (
        calibrate,  # it needs scikit-learn, whose import costs every trial that is not calibrated a second
    )

    logits, clips = Evaluator(dataset, split, experiment.front_end, device).logits(network.raw_logits)
    raw, (targets, groups) = logits.numpy(), targets_and_groups(dataset, clips.tolist())
    found = calibrate.fit(raw, targets, groups, method=method, split=split, strength=strength)
    if not found.report.applied:
        return network, found.report
    pruned = network.classifier.weight == 0 if experiment.compression.prune_ratio > 0 else None
    fused = calibrate.fuse(network, found.factors, raw, pruned=pruned)
    check_items(fused.state_dict(), experiment)
    return fused, found.report


def targets_and_groups(dataset: Dataset, clips: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Class numbers and location groups of clips, both (clips,)."""
    return np.array([dataset.target(clip) for clip in clips]), np.array([dataset.group(clip) for clip in clips])
