"""Calibration: linear factors on the logits, fitted on held-out clips and fused into the last layer at no cost in size.

Report, section 2.4: logistic regression without intercept, p = softmax(C z), multinomial or one-vs-rest (Platt 1999; a
binary regression for each class, then softmax over their outputs). The alternative is a single temperature, p =
softmax(z / T) (Guo et al. 2017, arXiv:1706.04599). All minimise the micro log loss, the plain mean over clips, as
scikit-learn does.

A hundred free factors overfit a small split. So the penalty strength * ||C - centre||^2, added to the summed log loss,
shrinks them towards a centre: the identity, or the identity divided by the fitted temperature. The second is for
over-confident networks, whose best factors are far from the identity. Grouped cross-validation chooses the centre and
the strength, which may be infinite (the unchanged network, or a temperature alone); nested cross-validation decides
whether to calibrate.

Log loss on simulated logits of held-out groups (tests/benchmarks/calibration_sets.py, means of 20 seeds):

    network                                groups x clips  uncalibrated  multinomial  temperature  without penalty
    over-confident                         25 x 4          1.20          0.80         0.80         88
    over-confident                         150 x 10        1.19          0.79         0.79         0.87
    over-confident, logits mixed           150 x 10        2.36          0.87         1.17         0.88

Networks that are calibrated already are changed in 0 to 10 % of the seeds, at a cost of at most 0.005.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits
from torch import Tensor

from asc.errors import InputError
from asc.models.activation_grid import ActivationQuantiser
from asc.models.conversion import to_float16
from asc.models.float16 import HalfNet
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet
from asc.models.weight_grid import store
from asc.results import CalibrationReport, Centre, Split
from asc.training.regression import Array, Numbers, Regression, fit_factors, fit_temperature, log_softmax

Method = Literal["temperature", "multinomial", "one_vs_rest"]

STRENGTHS = (float("inf"), *(float(s) for s in np.logspace(5, -1, 7)))
"""Tried in this order, each starting from the factors of the one before; infinity gives the centre itself."""

FOLDS = 5
# The losses of a network that is right and confident on all clips differ only by rounding.
_ROUNDING_NATS = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCalibration:
    """Fitted factors (classes, classes) float64 such that softmax(factors @ logits) is calibrated, and the report.

    Fuse the factors only if `report.applied` is True.
    """

    factors: Array
    report: CalibrationReport


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shrinkage:
    towards: Centre
    strength: float


_UNTOUCHED = _Shrinkage(towards="identity", strength=float("inf"))
_TEMPERATURE = _Shrinkage(towards="temperature", strength=float("inf"))


@dataclass(frozen=True, slots=True, eq=False)
class _Clips:
    logits: Array
    targets: Numbers
    groups: Numbers

    def take(self, indices: Numbers) -> "_Clips":
        return _Clips(self.logits[indices], self.targets[indices], self.groups[indices])

    def losses(self, factors: Array) -> Array:
        """Return the log loss in nats of each clip, (clips,), with these factors (classes, classes)."""
        losses: Array = -log_softmax(self.logits @ factors.T)[np.arange(len(self.targets)), self.targets]
        return losses

    def centre(self, towards: Centre) -> Array:
        """Return the factors (classes, classes) for infinite strength."""
        identity = np.eye(self.logits.shape[1])
        return identity if towards == "identity" else identity / fit_temperature(self.logits, self.targets)

    def folds(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Yield the indices of the training and held-out parts of each fold, grouped, stratified and deterministic.

        There are no folds for a single group, or if no class has two clips.
        """
        folds = min(FOLDS, len(np.unique(self.groups)), int(np.bincount(self.targets).max()))
        if folds < 2:
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            parts = list(StratifiedGroupKFold(folds).split(self.logits, self.targets, self.groups))
        for training, held_out in parts:
            if len(training) and len(held_out):
                yield training, held_out


def fit(
    logits: Array,
    targets: Numbers,
    groups: NDArray[np.generic],
    *,
    method: Method,
    split: Split,
    strength: float | None = None,
) -> FittedCalibration:
    """Calibrate on logits (clips, classes) of full-length clips, class numbers (clips,) and groups (clips,).

    Without `strength`, cross-validation over groups chooses it, and nested cross-validation sets `applied`: each outer
    fold chooses its own strength on its training part, and the mean gain per clip on the held-out parts must be larger
    than its standard error over groups (a ratio estimate that counts each group as one draw).

    A given `strength` shrinks towards the identity, and calibration is always applied, also with a temperature, for
    which the value does not matter. 0 is the technical report's own method: scikit-learn without a penalty.

    Raises:
        InputError: there are fewer than two groups or no two clips of a class, logits are not finite, or, with
            strength 0, a class is missing from the split or from the training part of a fold.
    """
    clips = _checked(logits, targets, groups)
    # Ten logits are too few to share among threads: on busy cores these wait for each other, for ten times as long.
    with threadpool_limits(limits=1):
        before, cooled, after = _held_out_losses(clips, method, strength)
        chosen = _shrinkage(clips, method, strength)
        factors, temperature = _fit_one(clips, method, chosen), fit_temperature(clips.logits, clips.targets)
    gain, error = _gain(before - after, clips.groups)
    report = CalibrationReport(
        method=method,
        split=split,
        clips=len(clips.targets),
        groups=int(clips.groups.max()) + 1,
        shrunk_towards=chosen.towards,
        strength=None if np.isinf(chosen.strength) else chosen.strength,
        temperature=temperature,
        log_loss_uncalibrated=float(before.mean()),
        log_loss_temperature=float(cooled.mean()),
        log_loss_method=float(after.mean()),
        gain_standard_error=error,
        applied=strength is not None or (gain > max(error, _ROUNDING_NATS) and chosen != _UNTOUCHED),
    )
    return FittedCalibration(factors=factors, report=report)


def check_clips(targets: Numbers, groups: NDArray[np.generic]) -> None:
    """Check, before training, that a network can be calibrated on clips of these classes and groups, both (clips,).

    Raises:
        InputError: there are fewer than two groups, or no two clips of a class.
    """
    count = len(np.unique(groups))
    if count < 2:
        raise InputError(
            f"the calibration split has {count} group, but cross-validation over groups needs at least 2: give "
            "more recording locations, or do not calibrate"
        )
    if np.bincount(targets).max() < 2:
        raise InputError("no class has two clips in the calibration split: give more clips of a class")


def _checked(logits: Array, targets: Numbers, groups: NDArray[np.generic]) -> _Clips:
    check_clips(targets, groups)
    _, numbers = np.unique(groups, return_inverse=True)
    if not np.isfinite(logits).all():
        raise InputError("some logits on the calibration split are not finite: train the network again")
    return _Clips(np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.int64), numbers.astype(np.int64))


def _held_out_losses(clips: _Clips, method: Method, strength: float | None) -> tuple[Array, Array, Array]:
    """Return the losses (clips,) uncalibrated, with a temperature and with the method, each fitted on other groups."""
    before = clips.losses(np.eye(clips.logits.shape[1]))
    cooled, after = before.copy(), before.copy()
    for training, held_out in clips.folds():
        part, rest = clips.take(training), clips.take(held_out)
        cooled[held_out] = rest.losses(part.centre("temperature"))
        after[held_out] = rest.losses(_fit_one(part, method, _shrinkage(part, method, strength)))
    return before, cooled, after


def _gain(gains: Array, groups: Numbers) -> tuple[float, float]:
    """Return the mean of the clips' gains (clips,) and its standard error, with groups as independent draws."""
    mean = gains.mean()
    residuals = np.bincount(groups, weights=gains - mean)
    count = len(residuals)
    return float(mean), float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / len(gains))


def _shrinkage(clips: _Clips, method: Method, strength: float | None) -> _Shrinkage:
    if method == "temperature":
        return _TEMPERATURE
    if strength is not None:
        return _Shrinkage(towards="identity", strength=strength)
    return _choose_shrinkage(clips, method)


def _choose_shrinkage(clips: _Clips, method: Regression) -> _Shrinkage:
    """Return the centre and strength with the smallest loss on held-out groups; without folds, the bare identity."""
    candidates = [_Shrinkage(towards=towards, strength=s) for towards in get_args(Centre) for s in STRENGTHS]
    totals = np.zeros(len(candidates))
    for training, held_out in clips.folds():
        part, rest = clips.take(training), clips.take(held_out)
        totals += [
            rest.losses(factors).sum() for towards in get_args(Centre) for factors in _path(part, method, towards)
        ]
    return candidates[int(totals.argmin())]


def _path(clips: _Clips, method: Regression, towards: Centre) -> Iterator[Array]:
    """Yield the factors (classes, classes) for every strength, in the order of STRENGTHS."""
    factors = centre = clips.centre(towards)
    for strength in STRENGTHS:
        factors = fit_factors(
            clips.logits, clips.targets, method=method, strength=strength, centre=centre, start=factors
        )
        yield factors


def _fit_one(clips: _Clips, method: Method, shrinkage: _Shrinkage) -> Array:
    centre = clips.centre(shrinkage.towards)
    if method == "temperature":
        return centre
    return fit_factors(clips.logits, clips.targets, method=method, strength=shrinkage.strength, centre=centre)


def fuse(network: StoredNet, factors: Array, raw_logits: Array, *, pruned: Tensor | None = None) -> StoredNet:
    """Return a copy of the network whose last layer gives calibrated logits; item names, shapes, types and size stay.

    `factors` are (classes, classes). `raw_logits` (clips, classes) are the network's logits on the clips of the fit,
    before the output quantiser: the new output grid spans their range after calibration (the 16-bit form has no grid).
    `pruned` (classes, inputs) is True for weights of the last layer that are held at zero.

    Raises:
        InputError: the factors would make pruned weights nonzero.
    """
    if pruned is not None and bool(pruned.any()) and np.count_nonzero(factors - np.diag(np.diag(factors))):
        raise InputError(
            "logistic regression would make pruned weights of the last layer nonzero, which changes the size: "
            "calibrate a pruned network with temperature, which keeps its zeros"
        )
    fused = copy.deepcopy(network)
    match fused:
        case IntegerNet():
            _fuse_integer(fused, factors, raw_logits)
        case HalfNet():
            weight, bias = fuse_linear(factors, fused.classifier.weight, fused.classifier.bias)
            fused.classifier.load_state_dict({"weight": to_float16(weight), "bias": to_float16(bias)})
    return fused


def _fuse_integer(fused: IntegerNet, factors: Array, raw_logits: Array) -> None:
    layer, input_scale = fused.classifier, fused.statistics_scale
    weight, bias = fuse_linear(factors, *layer.real(input_scale))
    stored = store(weight.float(), bias.float(), input_scale)
    layer.weight.copy_(stored.weight)
    assert layer.bias is not None, "a classifier has a bias"
    layer.bias.copy_(stored.bias)
    layer.weight_scale.copy_(stored.weight_scale)
    observer = ActivationQuantiser()
    observer(torch.from_numpy(raw_logits @ factors.T).float())
    layer.output.scale.copy_(observer.scale)
    layer.output.zero_point.copy_(observer.zero_point)


def fuse_linear(factors: Array, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight (classes, inputs) and bias (classes,), float64, of the linear layer for factors @ (W x + b)."""
    matrix = torch.from_numpy(factors).to(weight.device)
    return matrix @ weight.double(), matrix @ bias.double()
