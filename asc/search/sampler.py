"""Points from Optuna's TPE (Bergstra et al. 2011; Watanabe 2023, https://arxiv.org/abs/2304.11127), told the truth.

The study lives in memory and is made anew from the journal on resume. Each suggestion draws from a generator seeded by
(seed, number of the suggestion), so that a resumed search suggests what the whole one would have, given equal results.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from asc.space import Choice, FloatRange, IntRange, Parameter, Space, encoded
from asc.typed import Scalar

Handle = optuna.trial.Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a point: a value if its network was trained to the end, and log losses by epoch on the way.

    `usable` is False for a failure of ours, from which the sampler should learn nothing.
    """

    value: float | None = None
    log_losses: Mapping[int, float] | None = None
    usable: bool = True

    @property
    def state(self) -> TrialState:
        """Optuna's word for it: stopped and diverged trials are pruned, a diverged one without any value."""
        if not self.usable:
            return TrialState.FAIL
        return TrialState.PRUNED if self.value is None else TrialState.COMPLETE


class Sampler:
    """Asks Optuna for points and tells it how they did."""

    def __init__(self, space: Space, *, seed: int, trials: int) -> None:
        """A fresh study; the first third of the trials (two to ten) are random, as TPE needs something to model."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._distributions = {key: _distribution(parameter) for key, parameter in space.sampled.items()}
        self._seed, self._startup = seed, min(10, max(2, trials // 3))
        self._asked = 0
        self._study = optuna.create_study(direction="minimize")

    def skip(self) -> None:
        """Count a suggestion that an earlier process made."""
        self._asked += 1

    def ask(self) -> tuple[Handle, dict[str, Scalar]]:
        """The next point, and the handle to tell its end with."""
        seed = int(np.random.SeedSequence((self._seed, self._asked)).generate_state(1)[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = TPESampler(
                seed=seed, n_startup_trials=self._startup, multivariate=True, constant_liar=True
            )
        self._asked += 1
        handle = self._study.ask(self._distributions)
        return handle, dict(handle.params)

    def begin(self, point: Mapping[str, Scalar]) -> Handle:
        """A handle for a point that is given: the reference, or a trial that goes on after a resume."""
        self._study.enqueue_trial(dict(point))
        return self._study.ask(self._distributions)

    def tell(self, handle: Handle, told: Told) -> None:
        """End a point."""
        for epoch, log_loss in (told.log_losses or {}).items():
            handle.report(log_loss, epoch)
        self._study.tell(handle, values=told.value if told.state == TrialState.COMPLETE else None, state=told.state)

    def replay(self, point: Mapping[str, Scalar], told: Told) -> None:
        """Enter a point that ended in an earlier process."""
        self._study.add_trial(
            create_trial(
                state=told.state,
                value=told.value if told.state == TrialState.COMPLETE else None,
                params=dict(point),
                distributions=self._distributions,
                intermediate_values=dict(told.log_losses or {}),
            )
        )


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case IntRange():
            high = parameter.low + (parameter.high - parameter.low) // parameter.step * parameter.step
            return IntDistribution(parameter.low, high, step=parameter.step)
        case FloatRange():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case Choice():
            return CategoricalDistribution([encoded(option) for option in parameter.options])
