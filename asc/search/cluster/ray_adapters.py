"""Thin adapters from Ray Tune to the conductor: a searcher, a scheduler, a callback and a stopper.

Tune pickles its searcher, scheduler and callbacks at the start of an experiment. Those copies are never read again, so
they are empty (design decision 7: the journal holds the state of a search, not Ray's files).
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from asc.search.cluster.memory import Headroom
from asc.search.cluster.trial import TrialOrder, config_of, message_of
from asc.search.conductor import Assignment, Conductor

_PATIENCE_S = 60.0
_OUT_OF_MEMORY = ("can't allocate memory", "MemoryError", "OutOfMemoryError")
# Part of every Ray error, of any type, about a worker that the memory monitor stopped.
_STOPPED_BY_MONITOR = "running low on memory"
_SMALLER = ": make schedule.batch_size or augment.crop_s smaller in the space, or free memory on the machine"
_DIED = ("ray.exceptions.RayActorError", "ray.exceptions.ActorDiedError", "The actor died", "The actor is dead")


class ConductedSearcher(Searcher):
    """Hands out the conductor's trials; Tune asks for at most `max_concurrent_trials` at a time."""

    def __init__(self, conductor: Conductor, order: Callable[[Assignment], TrialOrder], headroom: Headroom) -> None:
        """`order` turns an assignment into an order, which adds what all trials share."""
        super().__init__(metric=None, mode=None)
        self._conductor, self._order, self._headroom = conductor, order, headroom

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        """A trial's order. None while memory is short or running trials may be lost; FINISHED if none is left."""
        if self._headroom.hopeless:
            self._conductor.halt(
                "the memory of this machine has been short for a long time although no trial runs: end other programs"
            )
        going_on = self._conductor.problem is None and not self._conductor.done
        if going_on and not self._headroom.may_start():
            return None
        assignment = self._conductor.next_trial(trial_id)
        if assignment is not None:
            self._headroom.started(trial_id)
            return config_of(self._order(assignment))
        return None if self._conductor.running else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Free the worker of a trial; `FailureWatch`, which knows the reason, handles failures."""
        if not error:
            self._conductor.left(trial_id)
            self._headroom.ended(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the journal holds the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        """Keep our state out of Tune's pickles."""
        return {}


class ConductedScheduler(FIFOScheduler):
    """Passes every result to the conductor, and the conductor's decision back to Tune."""

    def __init__(self, conductor: Conductor) -> None:
        """Tune calls the scheduler first with each result, before the searcher and the callbacks."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._conductor = conductor
        self._waiting: dict[Trial, float] = {}
        self._workers: set[tuple[Any, Any]] = set()
        self._grew_s = time.monotonic()

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Note when a trial begins to wait for a worker."""
        self._waiting[trial] = time.monotonic()

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial that waits longest, if no new worker has started for a minute; it gets the next free worker.

        Otherwise None, and Tune starts a worker for each trial. Tune's FIFO scheduler would give the worker of every
        ended trial to the longest waiting one and cancel the start of that trial's own worker, so with short trials a
        cluster would never fill up. It would also look through all trials, ended ones included, at each step.
        """
        while self._waiting:
            trial, since_s = next(iter(self._waiting.items()))
            if trial.status == Trial.PENDING:
                return trial if time.monotonic() - max(since_s, self._grew_s) > _PATIENCE_S else None
            del self._waiting[trial]
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Pass a worker's message to the conductor; STOP if early stopping ends the trial or this is its last message.

        Without STOP, Tune would ask the worker again and learn a fifth of a second later that its function has
        returned.
        """
        worker = (result.get("node_ip"), result.get("pid"))
        if worker not in self._workers:
            self._workers.add(worker)
            self._grew_s = time.monotonic()
        message = message_of(result)
        if message is None:
            return TrialScheduler.CONTINUE
        if message.epoch is not None:
            stops = self._conductor.epoch_done(trial.trial_id, message.epoch)
            return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE
        if message.halt is not None:
            self._conductor.halt(message.halt)
        elif message.failed is not None:
            self._conductor.failed(trial.trial_id, message.failed)
        elif message.diverged is not None:
            self._conductor.diverged(trial.trial_id, message.diverged)
        elif message.completed is not None:
            self._conductor.completed(trial.trial_id, message.completed)
        return TrialScheduler.STOP

    def __getstate__(self) -> dict[str, Any]:
        """Keep our state out of Tune's pickles."""
        return {}


class FailureWatch(tune.Callback):
    """Tells the conductor which workers failed, and why. Tune itself retries nothing.

    A trial whose worker was lost is handed out again when there is memory for it, as a new trial of Tune's.
    """

    def __init__(self, conductor: Conductor, headroom: Headroom) -> None:
        """Tune calls callbacks with an error after the searcher."""
        self._conductor, self._headroom = conductor, headroom
        self._began: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Note that a worker has begun a trial."""
        self._began.add(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Pass on the failure, with the last line of what the worker raised.

        A trial is not to blame if a reused worker dies before it has begun the trial.
        """
        worker, text = trial.trial_id, _error_text(trial)
        found = self._conductor.epochs_of(worker)
        if found is None:
            self._headroom.ended(worker)
        elif _STOPPED_BY_MONITOR in text:
            blame = self._headroom.ran_short(worker, *found)
            reason = "it ran out of memory on its own" if blame else "memory ran short"
            if self._conductor.lost(worker, f"{reason}, and Ray stopped its worker", blame=blame, advice=_SMALLER):
                self._headroom.gave_up()
        else:
            self._headroom.ended(worker)
            self._conductor.lost(worker, _reason(text), blame=worker in self._began or not _taken_over(text))
        self._began.discard(worker)

    def __getstate__(self) -> dict[str, Any]:
        """Keep our state out of Tune's pickles."""
        return {}


def _error_text(trial: Trial) -> str:
    """The text that Tune wrote about a trial's last failure."""
    file = Path(trial.error_file) if trial.error_file else None
    text = file.read_text("utf-8", errors="replace") if file is not None and file.is_file() else ""
    return text.rpartition("Failure # ")[2]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _died(text: str) -> bool:
    return any(line.startswith(_DIED) for line in _lines(text))


def _taken_over(text: str) -> bool:
    """Whether a worker that died before it began a trial was a reused one; Ray names a new one's creation task."""
    return _died(text) and "creation task" not in text


def _reason(text: str) -> str:
    """The reason of a failure, in one line."""
    lines = _lines(text)
    if any(word in line for line in lines for word in _OUT_OF_MEMORY):
        return (
            f"it ran out of memory ({lines[-1][:200]}): run fewer at a time with --max-concurrent, or make "
            "schedule.batch_size or augment.crop_s smaller in the space"
        )
    if _died(text):
        return "its worker process died (killed, or its node is gone)"
    return lines[-1] if lines else "the worker died without a word"


class EndOfSearch(tune.Stopper):
    """Ends the whole search when its time is up or it has been halted.

    Running trials stay unfinished in the journal.
    """

    def __init__(self, conductor: Conductor, seconds: float | None) -> None:
        """End after `seconds` from now; None sets no limit."""
        self._conductor = conductor
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self.passed = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """False: time never stops a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the time is up, or the conductor has halted the search."""
        self.passed = self._ends_at is not None and time.monotonic() >= self._ends_at
        return self.passed or self._conductor.problem is not None

    def __getstate__(self) -> dict[str, Any]:
        """Keep our state out of Tune's pickles."""
        return {}
