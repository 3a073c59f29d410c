"""`asc.search`, `asc.train` and `asc.evaluate` in this process: what they return, and how they refuse.

`tests/test_documented.py` runs a search: in a process of its own, because Ray reads its environment on import.
"""

import dataclasses
import threading
from pathlib import Path

import pytest
from told_search import ToldSearch

import asc
from asc.api import calls
from asc.api.searching import check_process
from asc.config.experiment import Experiment
from asc.console.cli import Output
from asc.errors import InputError
from asc.runs.record import fold
from asc.search.result_page import Page
from asc.search.summary import Summary
from asc.size.rules import rule


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_training_is_read_judged_and_goes_into_a_run(
    tiny_experiment: Experiment, tiny_csv: Path, tiny_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("tiny.toml").write_text(tiny_experiment.to_toml())
    run = asc.train(
        config="tiny.toml",
        data=f"csv:{tiny_csv}",
        cycles=1,
        name="one",
        cache=tiny_cache,
        mlflow_uri="none",
        overrides={"schedule.batch_size": 16},
        quiet=True,
    )
    assert run.folder == Path("runs/one") and list(run.history.index) == [1, 2, 3]
    assert run.best.info.evaluation.log_loss == round(run.log_loss, 4)
    assert run.best.info.experiment.schedule.batch_size == 16
    judged = asc.evaluate("one", cache=tiny_cache, output="figures", quiet=True)
    assert capfd.readouterr() == ("", ""), "quiet means quiet"
    assert (judged.log_loss, judged.accuracy) == (run.log_loss, run.accuracy)
    assert all(f"log loss {run.log_loss:.3f}" in repr(one) for one in (run, judged))
    frame, one = judged.predictions, judged.predictions.iloc[0]
    assert len(frame) == judged.examination.evaluation.clips  # type: ignore[union-attr]
    assert one["predicted"] == one[list(run.best.labels)].astype(float).idxmax()
    assert {"evaluation.json", "predictions.csv"} <= {path.name for path in Path("figures").iterdir()}
    with pytest.raises(InputError, match="one is a training, not a search"):
        asc.read_search("one")


def test_a_training_that_diverges_is_an_error(
    tiny_experiment: Experiment, tiny_csv: Path, tiny_cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("tiny.toml").write_text(tiny_experiment.updated({"schedule.learning_rate_max": 1e30}).to_toml())
    with pytest.raises(InputError, match="wild diverged in epoch 1: try a smaller schedule.learning_rate_max"):
        asc.train(config="tiny.toml", data=f"csv:{tiny_csv}", name="wild", cache=tiny_cache, mlflow_uri="none")
    assert "training wild on" in capfd.readouterr().err, "progress is shown unless it is not wanted"


def test_a_search_refuses_before_it_begins(tiny_csv: Path) -> None:
    with pytest.raises(InputError, match="runs has no run night"):
        asc.search(resume="night")
    with pytest.raises(InputError, match="^night is no search: "):
        asc.read_search("night")
    assert not Path("runs").exists()


def test_a_search_that_still_runs_shows_what_there_is(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "night")
    begun = asc.read_search(told.folder)
    assert begun.leaderboard.empty and "0 trials" in begun._repr_html_()
    assert begun.report().stat().st_size > 0
    told.trial(1.0625)
    now = asc.read_search(told.folder)
    assert list(now.leaderboard.index) == ["t000"]
    assert "1.0625" in now.report().read_text(), "the page is made again"


def test_a_search_without_a_report_page_is_a_result_and_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, output = ToldSearch(tmp_path / "night"), Output(as_json=True, quiet=True)
    told.trial(1.0)
    record = fold(told.entries)
    summary = Summary(
        ending="finished",
        folder=told.folder,
        rule=rule("dcase2021"),
        rows=[],
        trials=tuple(record.trials.values()),
        best=record.completed()[0],
        reference=None,
        page=Page(problem="the report page cannot be written"),
    )
    assert calls.result_of(summary, None, output).folder == told.folder
    assert capsys.readouterr().err.count("the report page cannot be written") == 1
    with pytest.raises(KeyboardInterrupt):
        calls.result_of(dataclasses.replace(summary, ending="interrupted"), None, output)
    with pytest.raises(InputError, match="^the disk is full; then resume with: "):
        calls.result_of(dataclasses.replace(summary, ending="halted"), "the disk is full", output)


def test_a_search_runs_in_the_main_thread_alone() -> None:
    refused: list[InputError] = []

    def look() -> None:
        try:
            check_process(local=True)
        except InputError as error:
            refused.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert "must run in the main thread" in str(refused[0])
