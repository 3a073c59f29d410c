"""A conductor whose trials, teachers and finals nobody trains: their log losses are made up."""

from collections.abc import Callable
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space
from asc.results import SplitFigures, TeacherNetwork
from asc.runs.events import FinalistsChosen, RunStarted, SoftLabelsMade
from asc.runs.journal import Journal
from asc.search.conductor import Assignment, Conductor
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.size.rules import rule
from asc.training_results import EpochMetrics, FinalFigures

EPOCHS = 6
MADE = SoftLabelsMade(teachers=(TeacherNetwork(name="t001", kilobytes=61.5),), digest="ab", clips=9)


def conductor(folder: Path, settings: SearchSettings) -> Conductor:
    fresh = not (folder / "journal.jsonl").exists()
    journal, space = Journal(folder / "journal.jsonl"), load_space("idlab128")
    if fresh:
        journal.append(RunStarted(name="s", kind="search", settings=settings.scalars(), space=""))
    schedule = {"schedule.cycles": 3, "schedule.epochs_per_cycle": EPOCHS // 3}
    base = load_experiment("qat_8b").updated({**space.settings, **schedule})
    budget = Budget(rule=rule("dcase2021"), kilobytes=128.0)
    return Conductor(journal=journal, space=space, settings=settings, base=base, budget=budget)


def log_loss(experiment: Experiment) -> float:
    """A search ranks wide networks first; on confirmation narrow ones with a small seed are better."""
    return 2 - 0.01 * sum(experiment.architecture.widths)


def work(lead: Conductor, worker: str, assignment: Assignment) -> None:
    """Train an assignment to its end, as a worker would, unless it is stopped."""
    experiment, loss = assignment.experiment, log_loss(assignment.experiment)
    for number in range(assignment.journalled + 1, experiment.schedule.epochs + 1):
        metrics = EpochMetrics(
            epoch=number, learning_rate=1e-3, train_loss=1.0, valid_log_loss=loss, valid_accuracy=0.5, seconds=1.0
        )
        if lead.epoch_done(worker, metrics):
            lead.left(worker)
            return
    confirmed = SplitFigures(split="calibration", clips=9, log_loss=10 - loss + 0.1 * experiment.seed, accuracy=0.5)
    figures = FinalFigures(
        log_loss=loss,
        accuracy=0.5,
        epochs=experiment.schedule.epochs,
        built=lead.record.training(assignment.trial).asked.predicted,
        confirmation=confirmed if assignment.final else None,
    )
    lead.completed(worker, figures)
    lead.left(worker)


def run_out(lead: Conductor) -> list[str]:
    """Train all that is left, and return the names in order."""
    names: list[str] = []
    while (assignment := lead.next_trial(f"w{len(names)}")) is not None:
        work(lead, f"w{len(names)}", assignment)
        names.append(assignment.trial)
    return names


def finished(lead: Conductor) -> list[str]:
    """As `run_out`, and where the conductor waits for soft labels, they are made."""
    names = run_out(lead)
    if lead.needs_soft_labels:
        assert lead.done and not lead.complete
        lead.journal.append(MADE)
        names += run_out(lead)
    return names


def check_any_cut(folder: Path, settings: SearchSettings, end: Callable[[Conductor], object]) -> None:
    """Check that a search whose journal is cut after any line from its finals on ends as the whole one.

    `end` trains all that is left.
    """
    whole = conductor(folder / "whole", settings)
    end(whole)
    expected = [entry.event for entry in whole.journal.entries]
    lines = (folder / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    first = next(number for number, event in enumerate(expected) if isinstance(event, FinalistsChosen))
    for count in range(first - 1, len(lines)):
        cut = folder / f"cut{count}"
        cut.mkdir()
        (cut / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(cut, settings)
        end(lead)
        lead.journal.close()
        assert [entry.event for entry in lead.journal.entries] == expected, f"cut after line {count}"
