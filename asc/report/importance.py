"""How much each searched parameter matters for a good log loss: PED-ANOVA over the points of a journal.

Watanabe et al. 2023, https://arxiv.org/abs/2304.10255, as Optuna implements it. It compares the values of the best
points with those of all, so it says what the best have in common, not which direction is better.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from asc.config.space import Choice, FloatRange, IntRange, Parameter, Space, encoded
from asc.report.trials import Search
from asc.typed import Scalar

FEWEST_TRIALS = 10
_BEST_TRIALS = 5  # Optuna's advice: at least as many among the best


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """The shares of parameters, most important first, which sum to 1; `best_share` of `trials` counted as the best."""

    shares: dict[str, float]
    trials: int
    best_share: float


def importance(search: Search) -> Importance | None:
    """Compare the best completed points with all of them; None with fewer than 10 points, or without a space."""
    space = search.space
    if space is None:
        return None
    known = {key: _distribution(parameter) for key, parameter in space.sampled.items()}
    study = _quiet_study()
    for trial in search.record.completed():
        point = trial.asked.point
        if point and trial.ended is not None and point.keys() <= known.keys() and _inside(space, point):
            study.add_trial(
                optuna.create_trial(
                    value=trial.ended.log_loss, params=dict(point), distributions={key: known[key] for key in point}
                )
            )
    count = len(study.get_trials(deepcopy=False))
    if count < FEWEST_TRIALS:
        return None
    # Imported here, because it imports scikit-learn, which takes more than a second before every search.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    best_share = min(0.5, max(0.1, _BEST_TRIALS / count))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parameters that few points have are left out by Optuna with a warning
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best_share))
    return Importance(shares=dict(shares), trials=count, best_share=best_share)


def _quiet_study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="minimize")


def _inside(space: Space, point: Mapping[str, Scalar]) -> bool:
    """Whether all values lie in the space: Optuna refuses others."""
    return all(_contains(space.sampled[key], value) for key, value in point.items())


def _contains(parameter: Parameter, value: Scalar) -> bool:
    match parameter:
        case Choice():
            return value in [encoded(option) for option in parameter.options]
        case IntRange() | FloatRange():
            return isinstance(value, int | float) and parameter.low <= value <= parameter.high


def _distribution(parameter: Parameter) -> BaseDistribution:
    match parameter:
        case IntRange():
            high = parameter.low + (parameter.high - parameter.low) // parameter.step * parameter.step
            return IntDistribution(parameter.low, high, step=parameter.step)
        case FloatRange():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        case Choice():
            return CategoricalDistribution([encoded(option) for option in parameter.options])
