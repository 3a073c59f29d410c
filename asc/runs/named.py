"""A model or a config by the name of its run: `NAME` is the best network of a run, `NAME/t005` one of its trials.

A final of a search (`--final-top`) is named like a trial, and so is the best network within one of several budgets, by
its folder: `NAME/best-16kb`.

Runs are looked for in `runs/`; a run elsewhere is named by its folder, as in `/data/runs/NAME/t005`.
"""

import shlex
from pathlib import Path

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.errors import InputError, some
from asc.run_files import BEST_FOLDER, CONFIG_FILE, JOURNAL, MODEL_FILE, TRIALS_FOLDER
from asc.runs.journal import read_journal
from asc.runs.record import RunRecord, TrialRecord, fold

RUNS = Path("runs")


def model_file(given: Path) -> Path:
    """The model file that a command line names: a file, a run, or a trial of a run.

    Raises:
        InputError: it is none of these, or the run or the trial has no model.
    """
    if given.is_file():
        return given
    found = _run_and_trial(given)
    if found is None:
        raise InputError(f"{given} is neither a model file nor a run nor a trial: {known()}")
    folder, trial = found
    if trial is not None and (file := folder / trial / MODEL_FILE).is_file() and _of_budget(trial):
        return file
    record = fold(read_journal(folder / JOURNAL))
    if trial is None or record.started.kind == "train":
        file = folder / BEST_FOLDER / MODEL_FILE
    else:
        _check_trial(record, folder, trial)
        file = folder / TRIALS_FOLDER / trial / MODEL_FILE
    if not file.is_file():
        raise InputError(f"{given} has no model file: {_why_not(record, folder, trial)}")
    return file


def config(given: str) -> Experiment | None:
    """The config of a run's best trial, or of one of its trials, whether it has ended or not; None if it is no run.

    Raises:
        InputError: the run has no such trial, or no best one yet.
    """
    found = _run_and_trial(Path(given))
    if found is None:
        return None
    folder, trial = found
    record = fold(read_journal(folder / JOURNAL))
    if trial is None or _of_budget(trial):
        saved = folder / (trial or BEST_FOLDER) / CONFIG_FILE
        if saved.is_file():  # while a search goes on, its journal does not say what best/ holds
            return Experiment.from_toml(saved.read_text("utf-8"), str(saved))
    if trial is None:
        best = _best(record)
        if best is None:
            raise InputError(f"no trial of {given} has completed: {_named(record, folder)}")
        return Experiment.from_flat(best.asked.config)
    _check_trial(record, folder, trial)
    return Experiment.from_flat(record.training(trial).asked.config)


def lacking_groups(given: str | None, choice: DataChoice) -> list[str]:
    """A warning if a config is that of a run whose data, the same, were grouped by `--group-from`, and these are not.

    `given` is a run, a trial, or a file of one.
    """
    place = None if given is None else Path(given)
    found = None if place is None else _run_and_trial(place.parent if place.is_file() else place)
    if found is None or choice.group_from is not None:
        return []
    started = fold(read_journal(found[0] / JOURNAL)).started
    pattern = started.settings.get("group_from")
    if pattern is None or started.settings.get("data") != choice.spec:
        return []
    return [
        f"{started.name} was run on {choice.spec} with --group-from {shlex.quote(str(pattern))}: without it, clips of "
        "one recording may be in several splits, so the figures would be too good, and not those of that run"
    ]


def _best(record: RunRecord) -> TrialRecord | None:
    """The trial, or the final, whose network is in `best/`; of a training, its only trial, ended or not."""
    if record.started.kind == "train":
        return next(iter(record.trials.values()), None)
    if record.ended is not None and record.ended.best is not None:
        return record.training(record.ended.best)
    return next(iter(record.completed()), None)


def _run_and_trial(given: Path) -> tuple[Path, str | None] | None:
    """The run's folder and the name of its trial, or None for the run itself; None if there is no such run.

    The folders of a run are names too: `runs/NAME/best`, `runs/NAME/trials/t005`.
    """
    for place in (given, RUNS / given):
        if (place / JOURNAL).is_file():
            return place, None
        if (place.parent / JOURNAL).is_file():
            return place.parent, None if place.name == BEST_FOLDER else place.name
        if place.parent.name == TRIALS_FOLDER and (place.parent.parent / JOURNAL).is_file():
            return place.parent.parent, place.name
    return None


def _of_budget(trial: str) -> bool:
    """Whether this names the folder of the best network within one of several budgets, such as `best-16kb`."""
    return trial.startswith(f"{BEST_FOLDER}-")


def _check_trial(record: RunRecord, folder: Path, trial: str) -> None:
    if record.find(trial) is None:
        raise InputError(f"{folder.name} has no trial {trial}: {_named(record, folder)}")


def _why_not(record: RunRecord, folder: Path, trial: str | None) -> str:
    if trial is None or record.started.kind == "train":
        if not record.completed():
            return "nothing has completed in it yet"
        if record.ended is None:
            return f"it has not ended; {_named(record, folder)}"
        return f"{folder / BEST_FOLDER} was removed"
    ended = record.training(trial).ended
    if ended is None:
        return "the trial has not ended"
    if ended.outcome != "completed":
        return f"its outcome is {ended.outcome}; {_named(record, folder)}"
    return f"{folder / TRIALS_FOLDER / trial} has none, or lies in a bucket or on another machine"


def _named(record: RunRecord, folder: Path) -> str:
    """Which trials the run has, the completed ones if there are any."""
    completed = sorted(trial.asked.trial for trial in record.completed())
    if completed:
        return f"the completed trials of {folder.name} are {some(completed)}"
    return f"the trials of {folder.name} are {some(sorted(record.trials))}" if record.trials else "it has no trials yet"


def known() -> str:
    """Which runs there are in `runs/`, for a sentence."""
    names = sorted(path.parent.name for path in RUNS.glob(f"*/{JOURNAL}"))
    return f"the runs in {RUNS} are {some(names)}" if names else f"{RUNS} has no runs yet"
