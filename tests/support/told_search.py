"""Journals of searches that nobody trained: real points, networks within the budget, and made-up log losses.

They are written with the journal's own writer, so the tests of the report page need no training.
"""

import dataclasses
import math
import random
from collections.abc import Mapping
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space
from asc.results import Interval, SplitFigures
from asc.runs.events import (
    EpochDone,
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    RungReached,
    RunStarted,
    TrialAsked,
    TrialEnded,
)
from asc.runs.journal import Entry, Journal
from asc.runs.record import fold
from asc.search.repair import Budget, Candidate, repair
from asc.search.settings import SearchSettings
from asc.size.rules import rule
from asc.training_results import EpochMetrics, OutcomeKind
from asc.typed import Scalar

CYCLES, EPOCHS_PER_CYCLE = 2, 3
EPOCHS = CYCLES * EPOCHS_PER_CYCLE


class ToldSearch:
    """Writes the journal of a search in `folder`, trial by trial."""

    def __init__(self, folder: Path, *, space: str = "quick", name: str | None = None, **settings: Scalar) -> None:
        self.folder, self.space = folder, load_space(space)
        chosen: dict[str, Scalar] = {"rule": self.space.rule or "dcase2021", "budget_kb": 128.0, **settings}
        self.settings = SearchSettings(**{**_DEFAULTS, **chosen})  # type: ignore[arg-type]
        self.budget = Budget(rule=rule(self.settings.rule), kilobytes=self.settings.budget_kb)
        schedule = {"schedule.cycles": CYCLES, "schedule.epochs_per_cycle": EPOCHS_PER_CYCLE}
        self.base = load_experiment("qat_8b").updated({**self.space.settings, **schedule})
        self.journal = Journal(folder / "journal.jsonl")  # open and locked, as that of a search that runs
        self._rng = random.Random(0)
        self.trials = sum(isinstance(entry.event, TrialAsked) for entry in self.journal.entries)
        if not self.journal.entries:
            self.journal.append(self._started(name or folder.name))

    def _started(self, name: str) -> RunStarted:
        return RunStarted(
            name=name,
            kind="search",
            settings=self.settings.scalars(),
            git_commit="abc123",
            space=f"{self.space.name}\n{self.space.text}",
            data_digest="digest",
            reference=self.base.flat(),
        )

    @property
    def entries(self) -> list[Entry]:
        return self.journal.entries

    def trial(
        self,
        log_loss: float,
        *,
        outcome: OutcomeKind | None = "completed",
        accuracy: float = 0.6,
        width: float | None = 0.1,
        point: Mapping[str, Scalar] | None = None,
        reference: bool = False,
        model: str | None = None,
    ) -> str:
        """Tell a trial: its epochs fall to `log_loss`, whose interval reaches `width` to both sides.

        A stopped trial ends at the first rung; None leaves it unfinished after two epochs. Its point is drawn, or the
        reference, with the values in `point` in place of its own. Returns its name.
        """
        name, drawn = f"t{self.trials:03d}", self._drawn(reference, point or {})
        self.trials += 1
        found = self._repaired(drawn)
        self.journal.append(_asked(name, found, drawn, reference=reference))
        last = {"completed": EPOCHS, "stopped": EPOCHS_PER_CYCLE, None: 2}.get(outcome, 1)
        for epoch in range(1, last + 1):
            self.journal.append(_epoch(name, epoch, log_loss + 0.2 * (last - epoch), accuracy))
            if epoch == EPOCHS_PER_CYCLE:
                stopped = outcome == "stopped"
                self.journal.append(RungReached(trial=name, epoch=epoch, log_loss=log_loss, stopped=stopped))
        if outcome is not None:
            self.journal.append(_ended(name, found, outcome, last, (log_loss, accuracy, width), model))
        return name

    def chosen(self, *trials: str, seeds: tuple[int, ...] = (1,)) -> None:
        """Tell which trials are finalists, and the seeds of their finals."""
        self.journal.append(FinalistsChosen(trials=trials, seeds=seeds, cycles=CYCLES, epochs_per_cycle=EPOCHS))

    def final(
        self, trial: str, log_loss: float, *, unseen: float, seed: int = 1, accuracy: float = 0.6, epochs: int = 12
    ) -> str:
        """Tell a final: `log_loss` and `accuracy` are on validation, `unseen` on confirmation. Returns its name."""
        record, name = fold(self.entries), f"{trial}-seed{seed}"
        config = {**record.trials[trial].asked.config, "seed": seed}
        self.journal.append(FinalAsked(final=name, trial=trial, title=name, seed=seed, config=config))
        for epoch in range(1, epochs + 1):
            self.journal.append(_epoch(name, epoch, log_loss, accuracy))
        figures = SplitFigures(split="confirmation", clips=20, log_loss=unseen, accuracy=0.5)
        self.journal.append(FinalConfirmed(final=name, figures=figures))
        ended = TrialEnded(
            trial=name,
            outcome="completed",
            epochs=epochs,
            seconds=2.0 * epochs,
            log_loss=log_loss,
            accuracy=accuracy,
            model=f"trials/{name}/model.safetensors",
            log_loss_interval=Interval(low=log_loss - 0.1, high=log_loss + 0.1),
        )
        self.journal.append(ended)
        return name

    def _drawn(self, reference: bool, changes: Mapping[str, Scalar]) -> dict[str, Scalar]:
        if reference:
            found = self.space.point_of(self.base)
            assert found is not None
            return {**found, **changes}
        return {**self.space.sample(self._rng), **changes}

    def _repaired(self, point: Mapping[str, Scalar]) -> Candidate:
        found = repair(self.base, self.space, point, self.budget)
        assert found is not None, "choose a space whose points can all be repaired"
        return found


_DEFAULTS: Mapping[str, Scalar] = {
    "recipe": "qat_8b",
    "data": "synthetic",
    "fold": 1,
    "data_seed": 0,
    "seed": 0,
    "trials": 8,
    "max_concurrent": 1,
    "cpus_per_trial": 1,
}


def _asked(name: str, found: Candidate, point: dict[str, Scalar], *, reference: bool) -> TrialAsked:
    return TrialAsked(
        trial=name,
        title=f"{name} {_widths(found.experiment)}",
        point=point,
        config=found.experiment.flat(),
        repaired=found.repaired,
        reference=reference,
        **dataclasses.asdict(found.cost.stored),
        macs_per_second=found.cost.macs_per_second,
        peak_activation_bytes=found.cost.peak_activation_bytes,
    )


def _widths(experiment: Experiment) -> str:
    return "w" + "-".join(map(str, experiment.architecture.widths))


def _epoch(name: str, epoch: int, log_loss: float, accuracy: float) -> EpochDone:
    metrics = EpochMetrics(
        epoch=epoch,
        learning_rate=1e-3,
        train_loss=log_loss,
        valid_log_loss=log_loss,
        valid_accuracy=accuracy,
        seconds=2.0,
    )
    return EpochDone(trial=name, metrics=metrics, checkpoint=f"trials/{name}/last.safetensors")


def _ended(
    name: str,
    found: Candidate,
    outcome: OutcomeKind,
    epochs: int,
    figures: tuple[float, float, float | None],
    model: str | None,
) -> TrialEnded:
    seconds = 2.0 * epochs
    if outcome != "completed":
        return TrialEnded(trial=name, outcome=outcome, epochs=epochs, seconds=seconds, reason=f"it {outcome}")
    log_loss, accuracy, width = figures
    assert math.isfinite(log_loss)
    return TrialEnded(
        trial=name,
        outcome=outcome,
        epochs=epochs,
        seconds=seconds,
        log_loss=log_loss,
        accuracy=accuracy,
        built=found.cost.stored,
        model=model or f"trials/{name}/model.safetensors",
        log_loss_interval=None if width is None else Interval(low=log_loss - width, high=log_loss + width),
        accuracy_interval=None if width is None else Interval(low=accuracy - 0.05, high=accuracy + 0.05),
    )
