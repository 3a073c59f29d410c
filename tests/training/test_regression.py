"""Regressions compared with scikit-learn, their limits, and the temperature compared with torch."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from torch.nn import functional

from asc.errors import InputError
from asc.training.regression import fit_factors, fit_temperature

METHODS = ("multinomial", "one_vs_rest")


def noisy(clips, classes, seed=0):
    """Overlapping over-confident logits (clips, classes), for which every fit has an optimum, and classes (clips,)."""
    generator = np.random.default_rng(seed)
    targets = np.arange(clips) % classes
    mixing = np.eye(classes) + 0.2 * generator.normal(size=(classes, classes))
    return (2 * np.eye(classes)[targets] + 1.5 * generator.normal(size=(clips, classes))) @ mixing.T, targets


def truth(logits, targets, method, inverse_strength):
    """scikit-learn's coefficients, (classes, classes), with a tight tolerance."""
    one = LogisticRegression(C=inverse_strength, fit_intercept=False, tol=1e-10, max_iter=10_000)
    if method == "multinomial":
        return one.fit(logits, targets).coef_
    return np.concatenate([each.coef_ for each in OneVsRestClassifier(one).fit(logits, targets).estimators_])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strength", [0.0, 1e-7])
def test_with_no_or_almost_no_penalty_probabilities_equal_scikit_learns(method, strength):
    logits, targets = noisy(600, 10)
    expected = truth(logits, targets, method, np.inf)
    factors = fit_factors(logits, targets, method=method, strength=strength)
    assert np.allclose(softmax(logits @ factors.T, axis=1), softmax(logits @ expected.T, axis=1), rtol=0, atol=1e-4)
    if method == "one_vs_rest":
        assert np.allclose(factors, expected, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strength", [0.05, 1.0, 40.0])
def test_with_the_penalty_centred_at_zero_the_factors_equal_scikit_learns(method, strength):
    logits, targets = noisy(200, 6, seed=1)
    factors = fit_factors(logits, targets, method=method, strength=strength, centre=np.zeros((6, 6)))
    # scikit-learn: C * summed loss + ||coefficients||^2 / 2.
    assert np.allclose(factors, truth(logits, targets, method, 1 / (2 * strength)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_stronger_penalty_moves_factors_towards_the_centre_and_an_infinite_one_onto_it(method):
    logits, targets = noisy(60, 10)
    centre = np.eye(10) / 2
    strengths = (1e-2, 1.0, 1e2, 1e4, 1e9)
    fits = [fit_factors(logits, targets, method=method, strength=each, centre=centre) for each in strengths]
    distances = [float(np.linalg.norm(factors - centre)) for factors in fits]
    assert distances == sorted(distances, reverse=True) and distances[0] > 0.1 and distances[-1] < 1e-5
    assert np.array_equal(fit_factors(logits, targets, method=method, strength=np.inf), np.eye(10))


@pytest.mark.parametrize("method", METHODS)
def test_the_starting_point_does_not_matter(method):
    logits, targets = noisy(100, 5)
    far = np.random.default_rng(0).normal(size=(5, 5)) * 3
    ends = [fit_factors(logits, targets, method=method, strength=0.5, start=start) for start in (None, far)]
    assert np.allclose(*ends, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_without_clips_needs_a_penalty(method):
    logits, targets = noisy(100, 5)
    logits, targets = logits[targets != 3], targets[targets != 3]
    with pytest.raises(InputError, match="class number 3 has too few groups"):
        fit_factors(logits, targets, method=method, strength=0.0)
    factors = fit_factors(logits, targets, method=method, strength=1.0)
    assert np.isfinite(factors).all() and softmax(logits @ factors.T, axis=1)[:, 3].max() < 0.5


def test_two_classes_can_be_fitted():
    logits, targets = noisy(200, 2)
    free, faint = (fit_factors(logits, targets, method="multinomial", strength=each) for each in (0.0, 1e-8))
    assert np.allclose(softmax(logits @ free.T, axis=1), softmax(logits @ faint.T, axis=1), atol=1e-4)


@pytest.mark.parametrize("over_confidence", [0.4, 1.0, 3.0])
def test_the_temperature_equals_the_one_found_with_torch(over_confidence):
    logits, targets = noisy(500, 10)
    logits = logits * over_confidence
    z, y = torch.from_numpy(logits), torch.from_numpy(targets)
    inverse = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=50, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(z * inverse, y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert fit_temperature(logits, targets) == pytest.approx(1 / inverse.item(), rel=1e-4)


def test_the_temperature_stays_within_bounds_if_all_logits_are_right_or_all_wrong():
    targets = np.arange(30) % 3
    assert 0.01 <= fit_temperature(np.eye(3)[targets], targets) < 0.05
    assert fit_temperature(-np.eye(3)[targets], targets) == pytest.approx(100, rel=1e-2)
