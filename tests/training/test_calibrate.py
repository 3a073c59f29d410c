"""Calibration: cross-validation over groups decides whether to apply it, and its factors are fused into a network."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import sem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn import functional

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.size.stored_items import stored_items
from asc.training.calibrate import fit, fuse, fuse_linear
from asc.training.regression import fit_temperature

METHODS = ("temperature", "multinomial", "one_vs_rest")
CLASSES = 6
NETWORK = Architecture(
    widths=(8, 12, 20),
    depths=(2, 1, 1),
    se_bottlenecks=(2, 3, 5),
    frequency_strides=(2, 1, 2, 2),
    time_strides=(2, 2, 1, 2),
    classes=CLASSES,
)
FRONT_END = FrontEnd(mel_bands=48)


def ideal(groups, clips, seed, classes=10):
    """Logits (groups * clips, classes) that are exactly calibrated, class numbers and group numbers (groups * clips,).

    The logits are the likelihood ratios of Gaussian scores.
    """
    generator = np.random.default_rng(seed)
    targets = np.repeat(np.arange(groups) % classes, clips)
    return (
        2 * (2 * np.eye(classes)[targets] + generator.normal(size=(len(targets), classes))),
        targets,
        np.repeat(np.arange(groups), clips),
    )


def loss(logits, targets):
    """Mean log loss in nats of logits (clips, classes) for class numbers (clips,)."""
    return -log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean()


@pytest.mark.parametrize("method", METHODS)
def test_an_over_confident_network_gains_on_unseen_groups(method):
    logits, targets, groups = ideal(60, 10, seed=0)
    unseen, truth, _ = ideal(200, 5, seed=1)
    found = fit(3 * logits, targets, groups, method=method, split="calibration")
    report = found.report
    assert report.applied and (report.method, report.split) == (method, "calibration")
    assert (report.clips, report.groups) == (600, 60)
    assert report.temperature == pytest.approx(3, rel=0.15)
    assert report.log_loss_uncalibrated == pytest.approx(loss(3 * logits, targets))
    assert report.log_loss_method < report.log_loss_uncalibrated - report.gain_standard_error
    after = loss(3 * unseen @ found.factors.T, truth)
    assert after < loss(3 * unseen, truth) - 0.1
    assert after == pytest.approx(report.log_loss_method, abs=0.1)
    assert after < loss(unseen, truth) + 0.03, "nearly as good as the ideal logits"
    if method == "temperature":
        assert np.array_equal(found.factors, np.eye(10) / report.temperature)
        assert report.strength is None and report.log_loss_method == report.log_loss_temperature


@pytest.mark.parametrize("method", ["multinomial", "one_vs_rest"])
def test_mixed_logits_need_more_than_a_temperature(method):
    mixing = np.eye(10) + 0.3 * np.random.default_rng(3).normal(size=(10, 10))
    logits, targets, groups = ideal(60, 5, seed=0)
    report = fit(logits @ mixing.T, targets, groups, method=method, split="calibration").report
    assert report.applied and report.strength is not None
    assert report.log_loss_method < report.log_loss_temperature - 0.1


@pytest.mark.parametrize("method", METHODS)
def test_calibrated_logits_are_not_changed(method):
    assert not fit(*ideal(25, 4, seed=5), method=method, split="calibration").report.applied


def test_the_gain_must_exceed_its_standard_error_over_groups():
    logits, targets, groups = ideal(20, 3, seed=2)
    report = fit(1.5 * logits, targets, groups, method="temperature", split="calibration").report
    gains = np.empty(60)
    for training, rest in StratifiedGroupKFold(5).split(logits, targets, groups):
        temperature = fit_temperature(1.5 * logits[training], targets[training])
        for clip in rest:
            own, target = 1.5 * logits[clip : clip + 1], targets[clip : clip + 1]
            gains[clip] = loss(own, target) - loss(own / temperature, target)
    of_groups = gains.reshape(20, 3).mean(axis=1)
    assert report.gain_standard_error == pytest.approx(sem(of_groups))
    gain = report.log_loss_uncalibrated - report.log_loss_temperature
    assert gain == pytest.approx(of_groups.mean())
    assert report.applied == (gain > sem(of_groups))


def test_clips_are_evaluated_with_factors_fitted_on_other_groups():
    """Logits depend only on the group and its class is random, so no gain on other groups is possible."""
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 8)
    targets = np.repeat(generator.integers(0, 3, size=30), 8)
    logits = generator.normal(size=(30, 3))[groups]
    report = fit(logits, targets, groups, method="multinomial", split="calibration").report
    assert report.log_loss_method > np.log(3) - 0.05


def test_without_a_penalty_it_equals_scikit_learn_and_is_always_applied():
    logits, targets, groups = ideal(60, 10, seed=0)
    found = fit(logits, targets, groups, method="multinomial", split="test", strength=0.0)
    expected = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9, max_iter=10_000).fit(logits, targets)
    assert np.allclose(softmax(logits @ found.factors.T, axis=1), expected.predict_proba(logits), atol=1e-4)
    report = found.report
    assert report.applied and report.optimistic and report.strength == 0
    assert report.log_loss_method > report.log_loss_uncalibrated, "100 free factors overfit calibrated logits"


@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_deterministic_whatever_the_groups_are_called(method):
    logits, targets, groups = ideal(12, 5, seed=6)
    one = fit(2 * logits, targets, groups, method=method, split="calibration")
    names = np.array([f"location-{group:03}" for group in groups])
    two = fit(2 * logits, targets, names, method=method, split="calibration")
    assert np.array_equal(one.factors, two.factors) and one.report == two.report


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("groups", [2, 3, 7, 10])
def test_few_groups_and_classes_missing_from_folds_work(method, groups):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit(*ideal(groups, 3, seed=7), method=method, split="calibration")
    assert np.isfinite(found.factors).all() and found.report.groups == groups


def test_nothing_is_applied_if_the_folds_are_too_small_to_choose_a_strength():
    logits, targets, _ = ideal(6, 2, seed=0)
    report = fit(3 * logits, targets, np.tile([0, 1], 6), method="multinomial", split="calibration").report
    assert report.log_loss_method == report.log_loss_uncalibrated and not report.applied


def test_wrong_input_gives_one_sentence():
    logits, targets, groups = ideal(10, 3, seed=0)
    with pytest.raises(InputError, match="has 1 group, but cross-validation over groups needs at least 2"):
        fit(logits, targets, np.zeros(30), method="temperature", split="calibration")
    with pytest.raises(InputError, match="no class has two clips"):
        fit(logits[::3], targets[::3], groups[::3], method="temperature", split="calibration")
    with pytest.raises(InputError, match="not finite"):
        fit(logits * np.nan, targets, groups, method="temperature", split="calibration")
    with pytest.raises(InputError, match="too few groups"):
        fit(logits, targets, groups, method="multinomial", split="calibration", strength=0.0)


def sounds(count, seed):
    """Noisy log-mel clips, (count, 1, bands, 60 frames), whose spectrum depends on the class, and classes (count,)."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(CLASSES, FRONT_END.mel_bands, 1, generator=torch.Generator().manual_seed(7))
    labels = torch.arange(count) % CLASSES
    noise = torch.randn(count, FRONT_END.mel_bands, 60, generator=generator)
    return (0.4 * spectra[labels] + 2 * noise - 4)[:, None], labels


@pytest.fixture(scope="module")
def network():
    trained = build_network(NETWORK, FRONT_END, seed=0).train()
    optimizer = torch.optim.Adam(trained.parameters(), lr=2e-3)
    for step in range(40):
        x, labels = sounds(12, step)
        loss = functional.cross_entropy(trained(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return to_integer(trained.eval())


@pytest.fixture(scope="module")
def heard(network):
    """Log-mel (60, 1, bands, frames), class numbers (60,) and raw logits (60, classes) of 60 clips in 20 groups."""
    x, labels = sounds(60, 1000)
    return x, labels.numpy(), network.raw_logits(x).numpy()


def factors_of(heard, method):
    """Factors (classes, classes) fitted by `method` at strength 3."""
    _, targets, raw = heard
    groups = np.arange(60) // 3
    return fit(raw, targets, groups, method=method, split="calibration", strength=3.0).factors


def test_raw_logits_are_the_outputs_before_they_are_quantised(network, heard):
    x, _, raw = heard
    grid = network.dense.output
    assert raw.dtype == np.float64 and len(np.unique(raw)) > 300
    apart = (network(x) - grid.dequantise(grid(torch.from_numpy(raw).float()))).abs()
    assert float(apart.max()) <= float(grid.scale) * 1.001 and float((apart > 0).float().mean()) < 0.01
    assert torch.equal(network(x), network.logits(network.statistics(x)))


@pytest.mark.parametrize("method", METHODS)
def test_fused_and_unfused_probabilities_agree_before_quantisation(network, heard, method):
    x, _, raw = heard
    factors = factors_of(heard, method)
    weight, bias = fuse_linear(factors, *network.dense.real(network.pool_output.scale))
    inputs = network.statistics(x).double() * network.pool_output.scale
    fused = functional.linear(inputs, weight, bias).numpy()
    assert np.abs(softmax(fused, axis=1) - softmax(raw @ factors.T, axis=1)).max() < 1e-6
    single = functional.linear(inputs.float(), weight.float(), bias.float()).numpy()
    assert np.abs(softmax(single, axis=1) - softmax(raw @ factors.T, axis=1)).max() < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_the_fused_network_gives_the_calibrated_logits_within_a_few_quantisation_steps(network, heard, method):
    x, _, raw = heard
    calibrated = raw @ factors_of(heard, method).T
    fused = fuse(network, factors_of(heard, method), raw)
    step = float(fused.dense.output.scale)
    assert step == pytest.approx((max(calibrated.max(), 0) - min(calibrated.min(), 0)) / 255, rel=1e-5)
    assert np.abs(fused(x).numpy() - calibrated).max() < 2.5 * step
    assert np.abs(fused.raw_logits(x).numpy() - calibrated).max() < 2 * step


@pytest.mark.parametrize("method", METHODS)
def test_fusing_keeps_the_size_and_changes_only_the_last_layer(network, heard, method):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = fuse(network, factors_of(heard, method), heard[2]).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert {n: (v.dtype, v.shape) for n, v in after.items()} == {n: (v.dtype, v.shape) for n, v in before.items()}
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert "dense.weight_scale" in changed and all(name.startswith("dense.") for name in changed)
    items = stored_items(Experiment(architecture=NETWORK, front_end=FRONT_END))
    assert sum(v.numel() * v.element_size() for v in after.values()) == sum(i.count * i.bytes_each for i in items)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.7])
def test_a_temperature_changes_scales_but_not_integer_weights_and_biases(network, heard, temperature):
    fused = fuse(network, np.eye(CLASSES) / temperature, heard[2])
    assert torch.equal(fused.dense.weight, network.dense.weight)
    assert (fused.dense.bias - network.dense.bias).abs().max() <= 1
    assert torch.allclose(fused.dense.weight_scale * temperature, network.dense.weight_scale, rtol=1e-6)


def test_a_pruned_last_layer_accepts_only_a_temperature(network, heard):
    pruned = network.dense.weight.abs() < 10
    pruned_network = fuse(network, np.eye(CLASSES), heard[2])
    pruned_network.dense.weight[pruned] = 0
    cooled = fuse(pruned_network, np.eye(CLASSES) / 2, heard[2], pruned=pruned)
    assert not cooled.dense.weight[pruned].any() and bool(cooled.dense.weight.any())
    for method in ("multinomial", "one_vs_rest"):
        with pytest.raises(InputError, match="with temperature, which keeps its zeros"):
            fuse(pruned_network, factors_of(heard, method), heard[2], pruned=pruned)
        fuse(network, factors_of(heard, method), heard[2], pruned=torch.zeros_like(pruned))
