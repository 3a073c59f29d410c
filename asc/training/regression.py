"""Fits a temperature, or logistic regression without intercept that shrinks towards any centre, to logits.

The regressions are those of the technical report's section 2.4: multinomial, p = softmax(C z), and one-vs-rest, p =
sigmoid(C z) for each class (Platt 1999). The temperature is Guo et al. 2017, arXiv:1706.04599. All minimise the micro
log loss, the plain mean over clips, as scikit-learn does, but scikit-learn can only shrink towards zero.
"""

from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from asc.errors import InputError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Regression = Literal["multinomial", "one_vs_rest"]

_LARGEST_TEMPERATURE = 100.0


def log_softmax(scores: Array) -> Array:
    """Return the log probabilities (clips, classes) of scores (clips, classes); twice as fast as scipy's if small."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_probabilities: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities


def fit_temperature(logits: Array, targets: Numbers) -> float:
    """Return the T, between 0.01 and 100, that minimises the log loss of softmax(logits / T).

    `logits` are (clips, classes), `targets` (clips,).
    """
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits * np.exp(-log_temperature))[rows, targets].mean())

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
    """Return the factors C (classes, classes) that minimise summed log loss + strength * ||C - centre||^2.

    `logits` are (clips, classes), `targets` (clips,); `centre` and `start` are (classes, classes), the identity and the
    centre by default. Strength 0 is scikit-learn's regression without a penalty; infinite strength returns the centre.
    The search begins at `start`, which does not affect the minimum.

    Raises:
        InputError: the strength is 0 and a class has no clip.
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
    options = {"maxiter": 2000, "ftol": 1e-11, "gtol": 1e-6}
    found = minimize(objective, begin, jac=True, method="L-BFGS-B", options=options)
    factors: Array = found.x.reshape(classes, classes)
    return factors


def _log_loss(scores: Array, one_hot: Array, method: Regression) -> tuple[float, Array]:
    """Return the summed log loss of scores (clips, classes) and its gradient, probability - target, of that shape."""
    match method:
        case "multinomial":
            log_probabilities = log_softmax(scores)
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
            "give more clips of it, or let cross-validation choose the strength"
        )
    regression = LogisticRegression(C=np.inf, fit_intercept=False, max_iter=10_000, tol=1e-6)
    match method:
        case "multinomial":
            factors = np.asarray(regression.fit(logits, targets).coef_)
            # For two classes scikit-learn fits a single score.
            return np.concatenate([-factors, factors]) / 2 if classes == 2 else factors
        case "one_vs_rest":
            return np.concatenate([regression.fit(logits, targets == each).coef_ for each in range(classes)])
        case _:
            assert_never(method)
