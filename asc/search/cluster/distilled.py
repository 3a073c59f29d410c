"""Runs a search whose finals learn from teachers: the trials, then the soft labels, then the finals.

Soft labels are made in this process, between two runs of Ray Tune, on the machine of the driver.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from asc.config.data_choice import DataChoice
from asc.search import soft_labels, teachers
from asc.search.cluster import study
from asc.search.cluster.study import Ending
from asc.search.conductor import Conductor
from asc.search.settings import SearchSettings
from asc.size.rules import Rule


def run(
    conductor: Conductor,
    settings: SearchSettings,
    data: DataChoice,
    cache: Path,
    *,
    rule: Rule,
    say: Callable[[str], None],
    on_stuck: Callable[[], None] | None = None,
) -> Ending:
    """Run a search to its end; without `--distil` as `study.run` does. `rule` counts the sizes of teachers.

    Raises:
        InputError: as `study.run`; or the model file of a teacher is missing or damaged.
    """
    started_s, minutes = time.monotonic(), settings.time_budget_min
    until_s = float("inf") if minutes is None else started_s + 60 * minutes
    ending: Ending = "finished"
    if not conductor.needs_soft_labels:  # else an earlier process has trained all that comes before
        ending = study.run(conductor, settings, data, cache, say=say, on_stuck=on_stuck)
    if ending != "finished" or not conductor.needs_soft_labels:
        return ending
    asked = teachers.wanted(conductor.record, settings, rule, conductor.journal.path.parent)
    try:
        if not soft_labels.make(conductor.journal, asked, data, cache, say=say, until_s=until_s):
            return "out of time"
    except KeyboardInterrupt:
        return "interrupted"
    left_min = None if minutes is None else max((until_s - time.monotonic()) / 60, 1e-3)
    settings = dataclasses.replace(settings, time_budget_min=left_min)
    return study.run(conductor, settings, data, cache, say=say, on_stuck=on_stuck)
