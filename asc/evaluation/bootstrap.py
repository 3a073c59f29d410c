"""Bootstrap intervals over locations. Clips of one location are alike, so locations are resampled, not clips.

Locations are drawn within each class, so no resample lacks a class. Of a class's n locations, n - 1 are drawn with
replacement and given the weight n / (n - 1). Drawing n would make the variance too small by the factor (n - 1) / n,
which matters with 4 locations per class (Rao & Wu 1988, https://doi.org/10.1080/01621459.1988.10478591). On simulated
locations with known means, 2 to 14 per class, the 95 % interval of a macro mean covers the true value in 92 to 95 % of
the draws. Drawing n covers it in 80 to 94 %.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asc.evaluation.metrics import BINS, calibration_error, confidences_and_bins, losses_and_hits
from asc.results import Interval, Intervals

Numbers = NDArray[np.float64]

RESAMPLES = 1_000
_ENDS = (0.025, 0.975)


def intervals(
    logits: Tensor, targets: Tensor, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Intervals | None:
    """Compute 95 % percentile intervals of macro log loss, macro accuracy and expected calibration error.

    Logits are (clips, classes), targets (clips,) class indices, and `groups` names each clip's location. A location
    belongs to the class of most of its clips. A class without a location of its own may be missing from a resample; it
    is then left out of the mean, as in `asc.evaluation.metrics.evaluation`. Resampling biases the calibration error
    upwards a second time, so its resamples are shifted to have the measured figure as their mean; the interval shows
    how much the figure varies. Returns None if every class has a single location, since nothing can be drawn then.
    """
    classes = logits.shape[1]
    sums = _sums(logits, targets, groups)
    strata = sums[:, :classes].argmax(axis=1)
    members = [np.flatnonzero(strata == number) for number in np.unique(strata)]
    if all(len(rows) == 1 for rows in members):
        return None
    rng = np.random.default_rng(seed)
    drawn = np.zeros((resamples, sums.shape[1]))
    for rows in members:
        drawn += _weights(len(rows), resamples, rng) @ sums[rows]
    clips, losses, hits, gaps = np.split(drawn, [classes, 2 * classes, 3 * classes], axis=1)
    errors = np.abs(gaps).sum(axis=1) / clips.sum(axis=1)
    return Intervals(
        groups=len(sums),
        lone_classes=sum(len(rows) == 1 for rows in members),
        resamples=resamples,
        log_loss=_interval(_macro(losses, clips)),
        accuracy=_interval(_macro(hits, clips)),
        calibration_error=_interval(np.clip(errors + calibration_error(logits, targets) - errors.mean(), 0, 1)),
    )


def _sums(logits: Tensor, targets: Tensor, groups: Sequence[str]) -> Numbers:
    """Sum what the figures need over the clips of each location, (groups, 3 x classes + bins) float64.

    The columns are clips, losses and hits per class, then hits minus confidences per bin.
    """
    classes = logits.shape[1]
    losses, hits = losses_and_hits(logits, targets)
    confidences, bins = confidences_and_bins(logits)
    names, group = np.unique(np.array(groups), return_inverse=True)
    sums = np.zeros((len(names), 3 * classes + BINS))
    for number, values in enumerate((torch.ones_like(losses), losses, hits)):
        np.add.at(sums, (group, number * classes + targets.numpy()), values.numpy())
    np.add.at(sums, (group, 3 * classes + bins.numpy()), (hits - confidences).numpy())
    return sums


def _weights(count: int, resamples: int, rng: np.random.Generator) -> Numbers:
    """Draw the weight of each of `count` locations in each resample, (resamples, count)."""
    if count == 1:
        return np.ones((resamples, 1))
    weights = np.zeros((resamples, count))
    drawn = rng.integers(count, size=(resamples, count - 1))
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), count / (count - 1))
    return weights


def _macro(sums: Numbers, clips: Numbers) -> Numbers:
    """Average over clips, then over classes: two (resamples, classes) to (resamples,)."""
    present = clips > 0
    means = np.divide(sums, clips, out=np.zeros_like(sums), where=present)
    return np.asarray(means.sum(axis=1) / present.sum(axis=1))


def _interval(values: Numbers) -> Interval:
    low, high = np.quantile(values, _ENDS).tolist()
    return Interval(low=low, high=high)
