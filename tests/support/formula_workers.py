"""A conductor, and workers that train by a formula instead of on data."""

from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.runs.events import EarlierPoint, RunStarted
from asc.runs.journal import Journal
from asc.search.conductor import Assignment, Conductor
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.size.rules import rule
from asc.training_results import EpochMetrics, FinalFigures

EPOCHS = 6


def settings(trials: int, **changes: float | str) -> SearchSettings:
    values = {"budget_kb": 128.0, "data": "synthetic", "fold": 1, "data_seed": 0, "seed": 0, **changes}
    return SearchSettings(
        rule="dcase2021",
        recipe="qat_8b",
        trials=trials,
        max_concurrent=2,
        cpus_per_trial=1,
        **values,  # type: ignore[arg-type]
    )


def conductor(
    folder: Path,
    trials: int,
    space: Space | None = None,
    earlier: tuple[EarlierPoint, ...] = (),
    **changes: float | str,
) -> Conductor:
    chosen, space = settings(trials, **changes), space or load_space("idlab128")
    fresh = not (folder / "journal.jsonl").exists()
    journal = Journal(folder / "journal.jsonl")
    if fresh:
        journal.append(RunStarted(name="s", kind="search", settings=chosen.scalars(), space="", earlier=earlier))
    base = load_experiment("qat_8b").updated(
        {**space.settings, "schedule.cycles": 3, "schedule.epochs_per_cycle": EPOCHS // 3}
    )
    budget = Budget(rule=rule(chosen.rule), kilobytes=chosen.budget_kb)
    return Conductor(journal=journal, space=space, settings=chosen, base=base, budget=budget)


def log_loss(experiment: Experiment, epoch: int) -> float:
    widths = experiment.architecture.widths
    return 2 - 0.01 * sum(widths) + abs(experiment.schedule.learning_rate_max - 0.002) * 100 + 1 / epoch


def epoch_of(assignment: Assignment, epoch: int) -> EpochMetrics:
    loss = log_loss(assignment.experiment, epoch)
    return EpochMetrics(
        epoch=epoch, learning_rate=1e-3, train_loss=loss, valid_log_loss=loss, valid_accuracy=0.5, seconds=1.0
    )


def work(lead: Conductor, worker: str, assignment: Assignment, epochs: int = EPOCHS) -> bool:
    """Train an assignment up to an epoch as a worker would; return whether the trial ended."""
    for epoch in range(assignment.journalled + 1, epochs + 1):
        if lead.epoch_done(worker, epoch_of(assignment, epoch)):
            lead.left(worker)
            return True
    if epochs < EPOCHS:
        return False
    final = log_loss(assignment.experiment, EPOCHS)
    built = lead.record.trials[assignment.trial].asked.predicted
    lead.completed(worker, FinalFigures(log_loss=final, accuracy=0.5, epochs=EPOCHS, built=built))
    lead.left(worker)
    return True


def run_out(lead: Conductor) -> None:
    number = 0
    while (assignment := lead.next_trial(f"w{number}")) is not None:
        work(lead, f"w{number}", assignment)
        number += 1
