"""Turns a trained network into its stored form: compresses it, checks it against the size law and calibrates it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.evaluation.evaluate import Evaluator
from asc.models.conversion import to_stored
from asc.models.network import Network
from asc.models.stored import StoredNet
from asc.results import CalibrationReport, StoredSize
from asc.size.law import cost
from asc.size.stored_items import stored_items
from asc.training import prune


def compressed(network: Network, masks: prune.Masks, experiment: Experiment) -> tuple[StoredNet, StoredSize]:
    """Return the stored form of a trained network in eval mode, and its size as counted on its tensors.

    Raises:
        AssertionError: the size is not what the size law predicted (design decision 1).
    """
    compact = to_stored(network)
    check_items(compact.state_dict(), experiment)
    predicted = cost(experiment)
    found = prune.counted(compact.state_dict(), masks, predicted.items)
    if found != predicted.stored:
        raise AssertionError(f"the network stores {found}, but the size law predicted {predicted.stored}")
    return compact, found


def check_items(state: Mapping[str, Tensor], experiment: Experiment) -> None:
    """Check the tensors of a stored form against the size law, item by item.

    Raises:
        AssertionError: a name, number of elements or bytes per element differs from the prediction.
    """
    built = {name: (tensor.numel(), tensor.element_size()) for name, tensor in state.items()}
    items = stored_items(experiment)
    predicted = {item.name: (item.count, item.bytes_each) for item in items}
    if built != predicted:
        differing = sorted(set(built.items()) ^ set(predicted.items()))
        raise AssertionError(f"the stored items differ from those that the size law predicted: {differing}")


def calibrated(
    network: StoredNet, experiment: Experiment, dataset: Dataset, device: torch.device, *, strength: float | None = None
) -> tuple[StoredNet, CalibrationReport | None]:
    """Calibrate a network as its experiment says, if that is a gain; return the network and the report, if any.

    `dataset` must have the split for calibration open. The size does not change. With a given `strength`, calibration
    is always applied (`calibrate.fit`).

    Raises:
        InputError: the split is too small to calibrate on.
    """
    method, split = experiment.calibration.method, experiment.calibration.fit_on
    if method == "none":
        return network, None
    # Imported late: scikit-learn would cost every uncalibrated trial a second.
    from asc.training import calibrate

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
    """Return the class numbers (int64) and location groups (str) of clips, both (clips,)."""
    return np.array([dataset.target(clip) for clip in clips]), np.array([dataset.group(clip) for clip in clips])
