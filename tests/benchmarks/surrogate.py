"""A surrogate for training, fitted on recorded curves: what a point of a search space would reach, without training it.

A Gaussian process for each of five log losses: those at `EPOCHS` and that of the stored network. The processes are of
their logarithms, so no landscape falls below zero, and noise is a share of the value. They share a kernel
(Matern 5/2 on the standardised config, bytes and MACs); its length, and the share of the variance that it leaves to
each point alone, have the highest marginal likelihood. Of that share, the recorded repeats say how much is noise of
training seeds. A `World` is a draw from the posterior (Wilson et al. 2020, https://arxiv.org/abs/2002.09309): a
landscape that agrees with the recorded points, and is as uncertain elsewhere as the few points leave it. Log losses of
one point go together as the recorded ones do; so rungs say as much about the end as in reality.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from curves import Curve
from numpy.typing import NDArray
from scipy.stats import spearmanr

from asc.config.experiment import Experiment
from asc.size.law import cost
from asc.typed import Scalar

EPOCHS = (1, 5, 7, 14)
"""Epochs at which log losses are predicted, beside the final one: rungs of cycles of 1, 4, 16 or of 7, 7, 7 epochs."""
WORST = float(np.log(10))
"""Nats: the log loss of equal probabilities for the ten classes. A training that comes near to diverging reaches ten
times as much, which would make the spread of all others small."""
_OUTPUTS = len(EPOCHS) + 1
_WAVES = 512
_LENGTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
_ALONE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
# Few repeats say little about the noise. So a prior is averaged in: this share of the variance, with the weight of
# this many repeats.
_NOISE, _NOISE_REPEATS = 0.04, 2
_IGNORED = ("seed", "schedule.cycles", "schedule.epochs_per_cycle", "schedule.cycle_growth")
Numbers = NDArray[np.float64]


def outcomes(curve: Curve) -> Numbers:
    """The logarithms of the log losses of a completed curve at `EPOCHS` and at its end, (5,), at most of `WORST`."""
    assert curve.final_log_loss is not None
    values = np.array([*(curve.log_losses[epoch - 1] for epoch in EPOCHS), curve.final_log_loss])
    return np.log(np.minimum(values, WORST))


class Encoder:
    """Turns configs into numbers: values, logarithms of rates, one column for each other choice, bytes and MACs."""

    def __init__(self, configs: Sequence[Mapping[str, Scalar]]) -> None:
        """Learn which keys vary, and between which values."""
        values: dict[str, set[Scalar | None]] = {}
        for key in sorted({key for config in configs for key in config}):
            if key not in _IGNORED:
                values[key] = {config.get(key) for config in configs}
        varied = {key: found for key, found in values.items() if len(found) > 1}
        self._texts = [
            (key, text)
            for key, found in varied.items()
            for text in sorted(value for value in found if isinstance(value, str))
        ]
        self._numbers = [
            key for key, found in varied.items() if all(v is None or isinstance(v, int | float) for v in found)
        ]

    def row(self, config: Mapping[str, Scalar], *, nonzero_bytes: int, macs_per_second: float) -> Numbers:
        """The features of a config, (features,)."""
        numbers = [self._number(key, config.get(key)) for key in self._numbers]
        texts = [float(config.get(key) == text) for key, text in self._texts]
        return np.array([*numbers, *texts, np.log(nonzero_bytes), np.log(macs_per_second)])

    @staticmethod
    def _number(key: str, value: Scalar | None) -> float:
        if value is None:
            return -1.0
        return float(np.log(float(value))) if key == "schedule.learning_rate_max" else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How well a log loss is predicted for a point that is left out: root mean square error, and spread (nats)."""

    name: str
    error: float
    spread: float
    rank_correlation: float
    alone: float
    """The standard deviation of what the kernel leaves to each point alone, as a share of the log loss."""
    noise: float
    """The standard deviation over training seeds that the process assumes, as a share of the log loss."""
    with_final: float
    """The rank correlation of the recorded value with the recorded final one: what a rung says."""


class Surrogate:
    """The processes."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        """Fit on the completed curves."""
        first, repeats = _split([curve for curve in curves if curve.outcome == "completed"])
        self.points, self.repeats, self._first = len(first), len(repeats), first
        self._encoder = Encoder([curve.config for curve in first])
        features = np.array([self._row(curve) for curve in first])
        values = np.array([outcomes(curve) for curve in first])
        self._centre, self._width = features.mean(axis=0), features.std(axis=0) * np.sqrt(features.shape[1])
        self._width[self._width == 0] = 1
        self.mean, self.spread = values.mean(axis=0), values.std(axis=0)
        self.places, self.values = (features - self._centre) / self._width, (values - self.mean) / self.spread
        changes = np.array([outcomes(one) - outcomes(other) for one, other in repeats]).reshape(-1, _OUTPUTS)
        of_seeds = np.sum((changes / self.spread) ** 2, axis=0) / 2  # a difference has the noise of both
        self.noises = (of_seeds + _NOISE * _NOISE_REPEATS) / (len(changes) + _NOISE_REPEATS)
        self.length, self.alone = self._fitted()
        left_out = np.column_stack([self._left_out(output) for output in range(_OUTPUTS)])
        self.together = np.corrcoef(self.values.T)
        self.alone_together = np.corrcoef((self.values - left_out).T)
        self._finals_left_out = left_out[:, -1]
        self.held_out = [self._held_out(output, left_out[:, output]) for output in range(_OUTPUTS)]

    def place(self, experiment: Experiment) -> Numbers:
        """The standardised features of a config, (features,)."""
        size, config = cost(experiment), experiment.flat()
        row = self._encoder.row(config, nonzero_bytes=size.stored.nonzero_bytes, macs_per_second=size.macs_per_second)
        return (row - self._centre) / self._width

    def expected(self) -> list[tuple[Curve, float]]:
        """Each recorded point, of one seed, with the final log loss (nats) that the other points let one expect."""
        finals = np.exp(self.mean[-1] + self.spread[-1] * self._finals_left_out)
        return list(zip(self._first, map(float, finals), strict=True))

    def covariance(self, output: int) -> Numbers:
        """Of the recorded values, which have a variance of 1, (points, points)."""
        return self._covariance(self.length, self.alone[output])

    def _row(self, curve: Curve) -> Numbers:
        return self._encoder.row(curve.config, nonzero_bytes=curve.nonzero_bytes, macs_per_second=curve.macs_per_second)

    def _covariance(self, length: float, alone: float) -> Numbers:
        return (1 - alone) * matern(self.places, self.places, length) + alone * np.eye(self.points)

    def _fitted(self) -> tuple[float, Numbers]:
        """The kernel's length, and the share of each output's variance that it leaves to each point alone, (5,)."""
        likelihood = np.zeros((len(_LENGTHS), len(_ALONE), _OUTPUTS))
        for i, j in product(range(len(_LENGTHS)), range(len(_ALONE))):
            covariance = self._covariance(_LENGTHS[i], _ALONE[j])
            fits = np.sum(self.values * np.linalg.solve(covariance, self.values), axis=0)
            likelihood[i, j] = -fits / 2 - np.linalg.slogdet(covariance)[1] / 2
        length = int(np.argmax(likelihood.max(axis=1).sum(axis=1)))
        return _LENGTHS[length], np.array(_ALONE)[np.argmax(likelihood[length], axis=0)]

    def _left_out(self, output: int) -> Numbers:
        """Each point's value as predicted from the others, (points,)."""
        inverse = np.linalg.inv(self.covariance(output))
        found: Numbers = self.values[:, output] - inverse @ self.values[:, output] / np.diag(inverse)
        return found

    def _held_out(self, output: int, left_out: Numbers) -> HeldOut:
        known, spread = self.values[:, output], float(self.spread[output])
        nats, predicted = (np.exp(self.mean[output] + spread * values) for values in (known, left_out))
        return HeldOut(
            name="final" if output == len(EPOCHS) else f"epoch {EPOCHS[output]}",
            error=float(np.sqrt(np.mean((nats - predicted) ** 2))),
            spread=float(np.std(nats)),
            rank_correlation=float(spearmanr(known, left_out).statistic),
            alone=float(np.sqrt(self.alone[output])) * spread,
            noise=float(np.sqrt(self.noises[output])) * spread,
            with_final=float(spearmanr(known, self.values[:, -1]).statistic),
        )


class World:
    """One draw of everything that is random: in it, a config has one value, and training it gives one curve."""

    def __init__(self, surrogate: Surrogate, seed: int) -> None:
        """`seed` tells worlds apart."""
        self._surrogate, self._seed = surrogate, seed
        self._known: dict[str, tuple[float, Numbers]] = {}
        rng = np.random.default_rng(seed)
        points, features = surrogate.places.shape
        # Waves whose sum has the kernel's covariance (Rahimi & Recht 2007); Matern 5/2 has those of a t distribution.
        slow = np.sqrt(rng.chisquare(5, _WAVES) / 5) * surrogate.length
        self._waves = rng.standard_normal((features, _WAVES)) / slow
        self._phases = rng.uniform(0, 2 * np.pi, _WAVES)
        self._heights = rng.standard_normal((_WAVES, _OUTPUTS)) @ root(surrogate.together).T
        alone = rng.standard_normal((points, _OUTPUTS)) @ root(surrogate.alone_together).T
        missed = surrogate.values - self._prior(surrogate.places) - alone * np.sqrt(surrogate.alone)
        self._pulls = np.column_stack(
            [np.linalg.solve(surrogate.covariance(output), missed[:, output]) for output in range(_OUTPUTS)]
        )

    def trained(self, experiment: Experiment) -> tuple[float, Numbers]:
        """The true final log loss of a config, without the noise of a training, and what a training shows, (5,)."""
        key = repr(sorted((k, v) for k, v in experiment.flat().items() if k not in _IGNORED))
        if key not in self._known:
            self._known[key] = self._drawn(experiment, key)
        return self._known[key]

    def _drawn(self, experiment: Experiment, key: str) -> tuple[float, Numbers]:
        surrogate = self._surrogate
        rng = np.random.default_rng(list(hashlib.sha256(f"{self._seed} {key}".encode()).digest()))
        own, noise = rng.standard_normal((2, _OUTPUTS)) @ root(surrogate.alone_together).T
        place = surrogate.place(experiment)[None]
        near = matern(place, surrogate.places, surrogate.length)[0]
        true = self._prior(place)[0] + (1 - surrogate.alone) * (near @ self._pulls)
        true += own * np.sqrt(np.clip(surrogate.alone - surrogate.noises, 0, None))
        shown: Numbers = np.exp(surrogate.mean + surrogate.spread * (true + noise * np.sqrt(surrogate.noises)))
        return float(np.exp(surrogate.mean[-1] + surrogate.spread[-1] * true[-1])), shown

    def _prior(self, places: Numbers) -> Numbers:
        """The landscape before it was bent to the recorded points, (places, 5)."""
        waves = np.cos(places @ self._waves + self._phases) * np.sqrt(2 / _WAVES)
        found: Numbers = waves @ self._heights * np.sqrt(1 - self._surrogate.alone)
        return found


def matern(one: Numbers, other: Numbers, length: float) -> Numbers:
    """The Matern 5/2 kernel between places, (len(one), len(other))."""
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2 * one @ other.T
    scaled = np.sqrt(5 * np.clip(squares, 0, None)) / length
    found: Numbers = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return found


def root(covariance: Numbers) -> Numbers:
    """A matrix whose product with independent standard normal numbers has this covariance."""
    sizes, directions = np.linalg.eigh(covariance)
    found: Numbers = directions * np.sqrt(np.clip(sizes, 0, None))
    return found


def _split(curves: Sequence[Curve]) -> tuple[list[Curve], list[tuple[Curve, Curve]]]:
    """The first curve of each config, and pairs of curves that differ in their seed."""
    first: dict[frozenset[tuple[str, Scalar]], Curve] = {}
    pairs: dict[frozenset[tuple[str, Scalar]], tuple[Curve, Curve]] = {}
    for curve in curves:
        key = frozenset((k, v) for k, v in curve.config.items() if k != "seed")
        if key not in first:
            first[key] = curve
        elif curve.seed != first[key].seed:
            pairs[key] = first[key], curve
    return list(first.values()), list(pairs.values())
