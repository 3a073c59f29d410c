"""Calibration: linear factors on the logits, fitted on held-out clips and fused into the last layer at no cost in size.

Report, section 2.4: logistic regression without intercept, p = softmax(C z), multinomial or one-vs-rest (Platt 1999; a
binary regression for each class, then softmax over their outputs). Beside it one temperature, p = softmax(z / T) (Guo
et al. 2017, arXiv:1706.04599). All minimise the micro log loss, the plain mean over clips, as scikit-learn does.

A hundred free factors overfit a small split, so the penalty strength * ||C - I||^2, on the summed log loss, shrinks
them towards the identity; grouped cross-validation chooses the strength and, nested, decides whether to calibrate.
"""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from asc.errors import InputError
from asc.quant.fake import ActivationQuantiser, store
from asc.quant.integer import IntegerNet
from asc.results import CalibrationReport, Split

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Regression = Literal["multinomial", "one_vs_rest"]
Method = Literal["temperature", "multinomial", "one_vs_rest"]

STRENGTHS = (float("inf"), *(float(s) for s in np.logspace(4, -2, 13)))
"""Tried in this order: infinity is the identity, and among equals the stronger one is taken."""

FOLDS = 5
_LARGEST_TEMPERATURE = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Factors (classes, classes) such that softmax(factors @ logits) is calibrated, and what is known of them.

    They are the fitted ones whatever `report.applied` says: fuse them only where it is True.
    """

    factors: Array
    report: CalibrationReport


@dataclass(frozen=True, slots=True, eq=False)
class _Clips:
    logits: Array
    targets: Numbers
    groups: Numbers

    def take(self, indices: Numbers) -> "_Clips":
        return _Clips(self.logits[indices], self.targets[indices], self.groups[indices])

    def losses(self, factors: Array) -> Array:
        """Log loss of each clip (clips,) under these factors, in nats."""
        losses: Array = -log_softmax(self.logits @ factors.T, axis=1)[np.arange(len(self.targets)), self.targets]
        return losses

    def folds(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Indices of the training and held-out part of each fold: always the same, no group in both, classes even."""
        folds = min(FOLDS, len(np.unique(self.groups)), int(np.bincount(self.targets).max()))
        if folds < 2:
            raise InputError("every clip of the calibration split has a class of its own: it needs several of a class")
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
) -> Calibration:
    """Calibrate on float logits (clips, classes) of full-length clips, class numbers (clips,) and groups (clips,).

    `strength` None: it is chosen by cross-validation over groups, and `applied` says whether calibration gains where
    it was not fitted: the mean gain per clip, over outer folds whose training part chose its own strength, is larger
    than its standard error over groups (a ratio estimate, each group counted as one draw). A number is used as it is
    and always applied; 0 is the report's own way, scikit-learn without a penalty. Temperature has no strength.

    Raises:
        InputError: fewer than two groups, logits that are not finite, no two clips of a class, or, with strength 0, a
            class that is missing from the split or from the training part of a fold.
    """
    clips = _checked(logits, targets, groups)
    before, cooled, after = _held_out_losses(clips, method, strength)
    chosen = _choose_strength(clips, method) if strength is None else strength
    gain, error = _gain(before - after, clips.groups)
    worthwhile = gain > error and (method == "temperature" or bool(np.isfinite(chosen)))
    report = CalibrationReport(
        method=method,
        split=split,
        clips=len(clips.targets),
        groups=int(clips.groups.max()) + 1,
        strength=None if method == "temperature" or np.isinf(chosen) else chosen,
        temperature=fit_temperature(clips.logits, clips.targets),
        log_loss_uncalibrated=float(before.mean()),
        log_loss_temperature=float(cooled.mean()),
        log_loss_method=float(after.mean()),
        gain_standard_error=error,
        applied=worthwhile if strength is None else True,
    )
    return Calibration(factors=_fit_one(clips, method, chosen), report=report)


def _checked(logits: Array, targets: Numbers, groups: NDArray[np.generic]) -> _Clips:
    names, numbers = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise InputError(
            f"the calibration split has {len(names)} group: cross-validation over groups needs two at least, so give "
            "more recording locations or do not calibrate"
        )
    if not np.isfinite(logits).all():
        raise InputError("the network gives logits that are not finite on the calibration split: train it again")
    return _Clips(np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.int64), numbers.astype(np.int64))


def _held_out_losses(clips: _Clips, method: Method, strength: float | None) -> tuple[Array, Array, Array]:
    """Loss of each clip (clips,) uncalibrated, with a temperature and with the method, not fitted on its group."""
    before = clips.losses(np.eye(clips.logits.shape[1]))
    cooled, after = np.empty_like(before), np.empty_like(before)
    for training, held_out in clips.folds():
        part, rest = clips.take(training), clips.take(held_out)
        chosen = _choose_strength(part, method) if strength is None else strength
        cooled[held_out] = rest.losses(_fit_one(part, "temperature", 0.0))
        after[held_out] = rest.losses(_fit_one(part, method, chosen))
    return before, cooled, after


def _gain(gains: Array, groups: Numbers) -> tuple[float, float]:
    """Mean of the clips' gains and its standard error, with groups as the independent draws."""
    mean = gains.mean()
    residuals = np.bincount(groups, weights=gains - mean)
    count = len(residuals)
    return float(mean), float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / len(gains))


def _choose_strength(clips: _Clips, method: Method) -> float:
    """The strength with the smallest loss on held-out groups; with a single group there is none: the identity."""
    if method == "temperature" or len(np.unique(clips.groups)) < 2:
        return float("inf")
    totals = np.zeros(len(STRENGTHS))
    for training, held_out in clips.folds():
        part, rest = clips.take(training), clips.take(held_out)
        factors: Array | None = None
        for number, strength in enumerate(STRENGTHS):
            factors = fit_factors(part.logits, part.targets, method=method, strength=strength, start=factors)
            totals[number] += rest.losses(factors).sum()
    return STRENGTHS[int(totals.argmin())]


def _fit_one(clips: _Clips, method: Method, strength: float) -> Array:
    if method == "temperature":
        return np.eye(clips.logits.shape[1]) / fit_temperature(clips.logits, clips.targets)
    return fit_factors(clips.logits, clips.targets, method=method, strength=strength)


def fit_temperature(logits: Array, targets: Numbers) -> float:
    """The T, within 0.01 and 100, that minimises the log loss of softmax(logits / T)."""
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits * np.exp(-log_temperature), axis=1)[rows, targets].mean())

    bound = np.log(_LARGEST_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-8}).x))


def fit_factors(
    logits: Array,
    targets: Numbers,
    *,
    method: Regression,
    strength: float,
    centre: Array | None = None,
    start: Array | None = None,
) -> Array:
    """The factors C (classes, classes) that minimise summed log loss + strength * ||C - centre||^2.

    `centre` is the identity unless given. 0 is scikit-learn's regression without a penalty, infinity is the centre
    itself. `start` is where the search begins; the minimum is one and the same.

    Raises:
        InputError: strength 0, and a class without a clip.
    """
    classes = logits.shape[1]
    centre = np.eye(classes) if centre is None else centre
    if np.isinf(strength):
        return centre
    if strength == 0:
        return _without_penalty(logits, targets, method)
    one_hot = np.eye(classes)[targets]

    def objective(flat: Array) -> tuple[float, Array]:
        factors = flat.reshape(classes, classes)
        loss, residuals = _log_loss(logits @ factors.T, one_hot, method)
        shift = factors - centre
        gradient = residuals.T @ logits + 2 * strength * shift
        return (loss + strength * float(np.sum(shift**2))) / len(targets), gradient.ravel() / len(targets)

    begin = (centre if start is None else start).ravel()
    options = {"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-7}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    factors: Array = found.x.reshape(classes, classes)
    return factors


def _log_loss(scores: Array, one_hot: Array, method: Regression) -> tuple[float, Array]:
    """The summed log loss of scores (clips, classes) and its derivative, probability less target, of that shape."""
    match method:
        case "multinomial":
            log_probabilities = log_softmax(scores, axis=1)
            return -float(np.sum(one_hot * log_probabilities)), np.exp(log_probabilities) - one_hot
        case "one_vs_rest":
            return float(np.sum(np.logaddexp(0, scores) - one_hot * scores)), expit(scores) - one_hot
        case _:
            assert_never(method)


def _without_penalty(logits: Array, targets: Numbers, method: Regression) -> Array:
    classes = logits.shape[1]
    absent = np.setdiff1d(np.arange(classes), targets)
    if len(absent):
        raise InputError(
            f"class number {absent[0]} has too few groups in the calibration split for a regression without a penalty: "
            "give more clips of it, or leave the strength to cross-validation"
        )
    regression = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=10_000, tol=1e-6)
    match method:
        case "multinomial":
            factors = np.asarray(regression.fit(logits, targets).coef_)
            # scikit-learn takes two classes for one score.
            return np.concatenate([-factors, factors]) / 2 if classes == 2 else factors
        case "one_vs_rest":
            return np.concatenate([regression.fit(logits, targets == each).coef_ for each in range(classes)])
        case _:
            assert_never(method)


def fuse(network: IntegerNet, factors: Array, raw_logits: Array, *, pruned: Tensor | None = None) -> IntegerNet:
    """A copy of the network whose last layer gives the calibrated logits: the same items, shapes, types and bytes.

    `raw_logits` (clips, classes) are the network's on the clips of the fit, before the output's grid: the new grid is
    their range after calibration. `pruned` (classes, inputs) is True for weights of the last layer held at zero.

    Raises:
        InputError: the factors would fill pruned weights.
    """
    if pruned is not None and bool(pruned.any()) and np.count_nonzero(factors - np.diag(np.diag(factors))):
        raise InputError(
            "logistic regression would fill the pruned weights of the last layer and so change the size: calibrate a "
            "pruned network with temperature, which keeps its zeros"
        )
    fused = copy.deepcopy(network)
    dense, input_scale = fused.dense, fused.pool_output.scale
    weight, bias = fuse_linear(factors, *dense.real(input_scale))
    stored = store(weight.float(), bias.float(), input_scale)
    dense.weight.copy_(stored.weight)
    dense.bias.copy_(stored.bias)
    dense.weight_scale.copy_(stored.weight_scale)
    observer = ActivationQuantiser()
    observer(torch.from_numpy(raw_logits @ factors.T).float())
    dense.output.scale.copy_(observer.scale)
    dense.output.zero_point.copy_(observer.zero_point)
    return fused


def fuse_linear(factors: Array, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (classes, inputs) and bias (classes,), float64, of the linear layer whose outputs are factors @ (W x + b).

    This is all there is to a form without grids.
    """
    matrix = torch.from_numpy(factors).to(weight.device)
    return matrix @ weight.double(), matrix @ bias.double()
