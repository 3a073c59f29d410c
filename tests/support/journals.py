"""Events of a journal as a search writes them."""

import dataclasses

from asc.config.experiment import Experiment
from asc.runs.journal import TrialAsked
from asc.size.law import cost


def asked_of(trial: str, experiment: Experiment) -> TrialAsked:
    """The event that asks for a trial with this config."""
    size = cost(experiment)
    return TrialAsked(
        trial=trial,
        title=trial,
        point=None,
        config=experiment.flat(),
        repaired=False,
        **dataclasses.asdict(size.stored),
        macs_per_second=size.macs_per_second,
        peak_activation_bytes=size.peak_activation_bytes,
    )
