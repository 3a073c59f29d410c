"""Strategies of other libraries for `search_quality.py`: DEHB, and ASHACQR of Syne Tune.

Both are asked and told through their own interfaces, with every setting that is not named here as it comes. They search
the same keys as asc, and their points are repaired like those of the other rows. docs/benchmarks.md says how to install
them: they are imported only where one of them is used.

DEHB (Awad et al. 2021, https://arxiv.org/abs/2105.09821) is Hyperband with differential evolution. It trains each
network from its start: one that was trained for 5 epochs and is to be trained for 21 costs 26.

ASHACQR (Salinas et al. 2023, https://arxiv.org/abs/2305.03623) stops trials at rungs as ASHA does, and draws points by
quantile regression on the last value of each trial.
"""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from strategies import BUDGET, Work

from asc.config.experiment import Experiment
from asc.config.space import Choice, FloatRange, IntRange, Parameter, Space, encoded
from asc.search.repair import repair
from asc.typed import Scalar

_UNUSABLE = 100.0
"""Nats: what DEHB is told of a point that no network within the budget has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An evaluation that DEHB waits for: its own record of it, the network, and for how many epochs it is trained."""

    job: dict[str, Any]
    experiment: Experiment
    epochs: int


class Dehb:
    """DEHB. Its fidelities are the epochs of the rungs and of a whole trial.

    The reference is trained first, as in every search here. DEHB is not told of it, because it takes no points from
    outside. A network that it asks for again, for as many epochs, is not trained again.
    """

    def __init__(self, space: Space, base: Experiment, seed: int, *, first: int, factor: int) -> None:
        """`first` is the epoch of the first rung; later ones are about `factor` times as many epochs.

        The fidelities are powers of `factor` below the whole training: of 21 epochs, 1.3 and 5.25. Whole epochs count.
        """
        from dehb import DEHB
        from loguru import logger

        self._space, self._base, self._last = space, base, base.schedule.epochs
        with tempfile.TemporaryDirectory() as folder:
            self._dehb = DEHB(
                cs=_config_space(space, seed),
                min_fidelity=first,
                max_fidelity=self._last,
                eta=factor,
                seed=seed,
                n_workers=1,  # more would start processes of its own; as many as one likes may ask
                save_freq="end",
                output_path=folder,
            )
            logger.remove()  # closes its log file
        self._asked: dict[str, Asked] = {}
        self._known: dict[tuple[Experiment, int], float] = {}
        self._trials = 0

    def next(self, worker: str) -> Work:
        """The next network that DEHB asks for, and that was not trained as long before."""
        if not self._trials:
            return self._work(_reference(self._base, self._space))
        while True:
            job = self._dehb.ask()
            epochs, point = int(job["fidelity"]), _scalars(self._space, dict(job["config"]))
            candidate = repair(self._base, self._space, point, BUDGET)
            if candidate is None:
                self._tell(job, _UNUSABLE)
            elif (candidate.experiment, epochs) in self._known:
                self._tell(job, self._known[candidate.experiment, epochs])
            else:
                work = self._work(candidate.experiment)
                self._asked[work.trial] = Asked(job=job, experiment=candidate.experiment, epochs=epochs)
                return work

    def _work(self, experiment: Experiment) -> Work:
        self._trials += 1
        return Work(trial=f"t{self._trials - 1}", experiment=experiment, epoch=0)

    def rung(self, worker: str, trial: str, epoch: int, log_loss: float) -> bool:
        """Tell DEHB if this is the epoch that it asked for; the reference is trained to its end."""
        return trial in self._asked and self._seen(trial, epoch, log_loss)

    def completed(self, worker: str, trial: str, log_loss: float) -> None:
        """Tell DEHB."""
        if trial in self._asked:
            self._seen(trial, self._last, log_loss)

    def _seen(self, trial: str, epoch: int, log_loss: float) -> bool:
        asked = self._asked[trial]
        self._known[asked.experiment, epoch] = log_loss
        if epoch == asked.epochs:
            self._tell(asked.job, log_loss)
        return epoch == asked.epochs

    def _tell(self, job: dict[str, Any], log_loss: float) -> None:
        self._dehb.tell(job, {"fitness": log_loss, "cost": job["fidelity"]})


class SyneTune:
    """Syne Tune's ASHACQR. The reference is its first point, and is trained to its end."""

    def __init__(self, space: Space, base: Experiment, seed: int, *, first: int, factor: int) -> None:
        """`first` is the epoch of the first rung.

        Its rungs are after `first`, `first` x `factor`, ... epochs. A trial is compared there at the first value that
        it is told from then on: with 1 and 4, after 1 and 4 epochs, and with what it is told here after 1 and 5.
        """
        import numpy as np
        from syne_tune.optimizer.baselines import ASHACQR

        np.random.seed(seed)  # its regression draws from this one, whatever `random_seed` is
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self._space, self._base, self._last = space, base, base.schedule.epochs
        point = space.point_of(base)
        assert point is not None, "the reference lies outside the space"
        self._asha = ASHACQR(
            _domains(space),
            metric="log_loss",
            time_attr="epoch",
            max_t=self._last,
            grace_period=first,
            reduction_factor=factor,
            random_seed=seed,
            points_to_evaluate=[point],
        )
        self._trials: list[Any] = []
        self._configs: set[Experiment] = set()

    def next(self, worker: str) -> Work:
        """A new point, unless its network was trained before."""
        from syne_tune.backend.trial_status import Trial

        while True:
            config = self._asha.suggest().config
            candidate = repair(self._base, self._space, config, BUDGET)
            if candidate is None or candidate.experiment in self._configs:
                continue
            trial = Trial(trial_id=len(self._trials), config=config, creation_time=datetime.now())
            self._asha.on_trial_add(trial)
            self._trials.append(trial)
            self._configs.add(candidate.experiment)
            return Work(trial=f"t{trial.trial_id}", experiment=candidate.experiment, epoch=0)

    def rung(self, worker: str, trial: str, epoch: int, log_loss: float) -> bool:
        """Tell Syne Tune, which decides."""
        stops = self._told(trial, epoch, log_loss) == "STOP" and trial != "t0"
        if stops:
            self._asha.on_trial_remove(self._trials[int(trial[1:])])
        return stops

    def completed(self, worker: str, trial: str, log_loss: float) -> None:
        """Tell Syne Tune."""
        self._told(trial, self._last, log_loss)
        self._asha.on_trial_remove(self._trials[int(trial[1:])])

    def _told(self, trial: str, epoch: int, log_loss: float) -> str:
        return str(self._asha.on_trial_result(self._trials[int(trial[1:])], {"log_loss": log_loss, "epoch": epoch}))


def _reference(base: Experiment, space: Space) -> Experiment:
    candidate = repair(base, space, {}, BUDGET)
    assert candidate is not None
    return candidate.experiment


def _config_space(space: Space, seed: int) -> Any:
    """The sampled keys for DEHB; steps of integers and options of choices are numbered (see `_scalars`)."""
    import ConfigSpace

    found = ConfigSpace.ConfigurationSpace(seed=seed)
    for key, parameter in space.sampled.items():
        match parameter:
            case IntRange():
                found.add(ConfigSpace.Integer(key, (0, _steps(parameter))))
            case FloatRange():
                found.add(ConfigSpace.Float(key, (parameter.low, parameter.high), log=parameter.log))
            case Choice():
                found.add(ConfigSpace.Categorical(key, list(range(len(parameter.options)))))
    return found


def _scalars(space: Space, config: Mapping[str, Any]) -> dict[str, Scalar]:
    """The point of a config of `_config_space`."""
    return {key: _scalar(parameter, config[key]) for key, parameter in space.sampled.items()}


def _scalar(parameter: Parameter, value: Any) -> Scalar:
    match parameter:
        case IntRange():
            return parameter.low + parameter.step * int(value)
        case FloatRange():
            return min(parameter.high, max(parameter.low, float(value)))
        case Choice():
            return encoded(parameter.options[int(value)])


def _domains(space: Space) -> dict[str, Any]:
    """The sampled keys for Syne Tune."""
    from syne_tune import config_space as domains

    found: dict[str, Any] = {}
    for key, parameter in space.sampled.items():
        match parameter:
            case IntRange():
                steps = _steps(parameter)
                high = parameter.low + parameter.step * steps
                found[key] = domains.finrange(parameter.low, high, steps + 1, cast_int=True)
            case FloatRange():
                make = domains.loguniform if parameter.log else domains.uniform
                found[key] = make(parameter.low, parameter.high)
            case Choice():
                found[key] = domains.choice([encoded(option) for option in parameter.options])
    return found


def _steps(parameter: IntRange) -> int:
    return (parameter.high - parameter.low) // parameter.step
