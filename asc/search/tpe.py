"""Optuna's TPE for points that the sampler keeps: what a study of Optuna's own would suggest, at less cost."""

import copy
from collections.abc import Container, Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from asc.config.space import Choice, FloatRange, IntRange, Parameter, encoded


class Storage(InMemoryStorage):
    """A study's storage that shows only the given trials, and those without copies.

    Optuna cannot change a result; a study that had to be built again after each change would cost more than TPE.
    """

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        """Show these trials, in this order."""
        super().__init__()
        self._given = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials of these states, copied only if asked for."""
        found = [trial for trial in self._given if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found


class Model(TPESampler):
    """TPE for points that all have the same keys; plain TPE derives the keys from all points at each suggestion."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], *, seed: int, startup: int) -> None:
        """The points are random until `startup` results are known."""
        super().__init__(seed=seed, n_startup_trials=startup, multivariate=True, constant_liar=True)
        self._space = {key: value for key, value in sorted(distributions.items()) if not value.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All keys that have more than one value."""
        return self._space


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's form of a parameter, in which a list is JSON text."""
    match parameter:
        case IntRange():
            high = parameter.low + (parameter.high - parameter.low) // parameter.step * parameter.step
            return IntDistribution(parameter.low, high, step=parameter.step)
        case FloatRange():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case Choice():
            return CategoricalDistribution([encoded(option) for option in parameter.options])
