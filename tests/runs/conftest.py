"""A search's folder with trials of every outcome."""

from pathlib import Path

import pytest
from journals import asked_of

from asc.config.experiment import Experiment
from asc.run_files import BEST_FOLDER, JOURNAL, MODEL_FILE, TRIALS_FOLDER
from asc.runs.events import RunStarted, TrialEnded
from asc.runs.journal import Journal
from asc.training_results import OutcomeKind


@pytest.fixture
def night(tmp_path: Path, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a search: t000 and t001 have completed, t001 better, t002 was stopped, t003 has not ended."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "night"
    for name in (f"{TRIALS_FOLDER}/t000", f"{TRIALS_FOLDER}/t001", f"{TRIALS_FOLDER}/t002", BEST_FOLDER):
        (folder / name).mkdir(parents=True)
    for name in (f"{TRIALS_FOLDER}/t000", f"{TRIALS_FOLDER}/t001", BEST_FOLDER):
        (folder / name / MODEL_FILE).write_text(name)
    journal = Journal(folder / JOURNAL)
    journal.append(RunStarted(name="night", kind="search", settings={"data": "synthetic", "budget_kb": 128.0}))
    outcomes: tuple[tuple[OutcomeKind | None, float | None], ...] = (
        *(("completed", 1.5), ("completed", 0.9), ("stopped", None), (None, None)),
    )
    for number, (outcome, log_loss) in enumerate(outcomes):
        asked = asked_of(f"t{number:03d}", tiny_experiment.updated({"seed": number}))
        journal.append(asked)
        if outcome is not None:
            ended = TrialEnded(
                trial=asked.trial, outcome=outcome, epochs=2, seconds=1.0, log_loss=log_loss, accuracy=0.5
            )
            journal.append(ended)
    return folder
