"""Bootstrap intervals over locations: clips of one place are alike, so places are drawn and not clips.

Classes are fixed and locations are drawn within each of them, so no resample lacks a class. Of a class's n locations
n - 1 are drawn with replacement and weigh n / (n - 1): drawing n gives a variance that is (n - 1) / n of the true one,
which matters with 4 locations a class (Rao & Wu 1988, https://doi.org/10.1080/01621459.1988.10478591). Measured on made
locations of known means, 95 % intervals of a macro mean then hold the truth in 92 to 95 % of the draws, with 2 to 14
locations a class; drawing n in 80 to 94 %.
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
    """95 % percentile intervals of macro log loss and accuracy and of the expected calibration error.

    Logits are (clips, classes), targets (clips,), and `groups` names each clip's location. A location counts for the
    class that most of its clips have; a class that has none of its own may be missing from a resample, and then has no
    part in the mean, as in `asc.evaluation.metrics.evaluation`. Resampling biases the calibration error upwards a
    second time, so its resamples are shifted to have the figure itself as their mean: the interval says how much the
    figure varies. None where every class has a single location, for nothing can be drawn then.
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
    """All that the figures are made of, summed over each location's clips: (groups, 3 x classes + bins).

    Clips, losses and hits by class, then accuracy less confidence by bin.
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
    """How much each of `count` locations weighs in each resample, (resamples, count)."""
    if count == 1:
        return np.ones((resamples, 1))
    weights = np.zeros((resamples, count))
    drawn = rng.integers(count, size=(resamples, count - 1))
    np.add.at(weights, (np.arange(resamples)[:, None], drawn), count / (count - 1))
    return weights


def _macro(sums: Numbers, clips: Numbers) -> Numbers:
    """The mean over classes of the mean over clips, (resamples,)."""
    present = clips > 0
    means = np.divide(sums, clips, out=np.zeros_like(sums), where=present)
    return np.asarray(means.sum(axis=1) / present.sum(axis=1))


def _interval(values: Numbers) -> Interval:
    low, high = np.quantile(values, _ENDS).tolist()
    return Interval(low=low, high=high)
