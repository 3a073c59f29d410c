"""launch/search.py with --final-top, with real Ray: whole, killed among its finals and resumed, and added on resume."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launched import refusal
from mlflow import MlflowClient
from search_bench import Bench, assert_mlflow_agrees, assert_whole, ended, events, trained, wait_for

from asc.model_file.artefact import load_model
from asc.model_file.teacher_logits import read_teacher_logits
from asc.results import Taught, TeacherNetwork
from asc.runs.events import EpochDone, FinalAsked, FinalConfirmed, FinalistsChosen, RunResumed, TrialEnded
from asc.runs.finals import finals_of
from asc.runs.journal import read_journal
from asc.runs.record import fold

FOUR = ("--trials", "4", "--max-concurrent", "1", "--cpus-per-trial", "1", "--seed", "3")
FINALS = ("--final-top", "2", "--final-seeds", "2", "--final-cycles", "2", "--final-epochs", "4")


def rounded(teachers: tuple[TeacherNetwork, ...]) -> tuple[TeacherNetwork, ...]:
    """As a model file has them."""
    return tuple(replace(one, kilobytes=one.kilobytes and round(one.kilobytes, 1)) for one in teachers)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, Any]:
    """The JSON output of an uninterrupted search of 4 trials and 2 x 2 finals, one at a time."""
    process = bench.search("whole", *FOUR, *FINALS)
    bench.watch_disk(process)
    code, out, err = ended(process)
    assert code == 0, err
    assert "[final 4/4] " in err
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_the_best_are_retrained_and_the_best_mean_on_unseen_clips_wins(bench: Bench, whole: dict[str, Any]) -> None:
    run = bench.run("whole")
    record = fold(read_journal(run / "journal.jsonl"))
    best = [trial.asked.trial for trial in record.completed()[:2]]
    chosen = [event for event in events(run) if isinstance(event, FinalistsChosen)]
    assert chosen == [FinalistsChosen(trials=tuple(best), seeds=(4, 5), cycles=2, epochs_per_cycle=4)]
    assert list(record.finals) == [f"{trial}-seed{seed}" for seed in (4, 5) for trial in best]
    for final in record.finals.values():
        training, trial = final.training, record.trials[final.trial]
        assert training.ended is not None and training.ended.outcome == "completed" and training.ended.epochs == 8
        assert training.ended.built == trial.asked.predicted, "a final is within the budget as its trial is"
        assert not training.rungs and not training.asked.reference
        changed = {key for key, value in training.asked.config.items() if trial.asked.config[key] != value}
        assert {"seed", "schedule.epochs_per_cycle"} == changed
        assert final.confirmed is not None and final.confirmed.split == "calibration" and final.confirmed.clips == 8
    finals = finals_of(record)
    assert finals is not None and finals.complete and finals.winner is not None and finals.shipped is not None
    rows = whole["finalists"]
    assert [row["rank"] for row in rows] == [1, 2] and {row["trial"] for row in rows} == set(best)
    assert rows[0]["confirmation_log_loss"] <= rows[1]["confirmation_log_loss"]
    for row in rows:
        assert row["winners_curse"] == pytest.approx(row["confirmation_log_loss"] - row["search_log_loss"])
        assert row["confirmation_deviation"] > 0 and [seed["seed"] for seed in row["seeds"]] == [4, 5]
    shipped = min(rows[0]["seeds"], key=lambda seed: seed["valid_log_loss"])
    assert whole["best"]["trial"] == shipped["final"] == finals.shipped.training.asked.trial
    assert record.ended is not None and record.ended.best == shipped["final"]
    assert_whole(bench, "whole")


def test_the_model_that_is_saved_is_the_winners_and_the_leaderboards_tell_finals_from_trials(
    bench: Bench, whole: dict[str, Any]
) -> None:
    run = bench.run("whole")
    record = fold(read_journal(run / "journal.jsonl"))
    winner = record.finals[whole["best"]["trial"]]
    _, info = load_model(run / "best" / "model.safetensors")
    assert info.experiment.flat() == winner.training.asked.config and info.experiment.seed == winner.seed
    assert "retrained" in (run / "best" / "model_card.md").read_text()
    rows = json.loads((run / "leaderboard.json").read_text())
    assert {row["trial"] for row in rows} == set(record.trials), "rows are trials"
    assert {row["trial"]: row["final"] for row in rows if "final" in row} == {
        row["trial"]: row for row in whole["finalists"]
    }
    header, *lines = (run / "leaderboard.csv").read_text().splitlines()
    place = header.split(",").index("final_winners_curse")
    assert sum(bool(line.split(",")[place]) for line in lines) == 2
    client = MlflowClient(f"sqlite:///{bench.folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("asc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], filter_string="tags.`asc.kind` = 'final'")
    sent = {r.data.tags["asc.trial"]: r.data.metrics.get("confirmation_log_loss") for r in runs}
    confirmed = {name: final.confirmed.log_loss for name, final in record.finals.items() if final.confirmed}
    assert sent == pytest.approx(confirmed, rel=1e-3), "MLflow has rounded figures"


def test_a_search_that_is_killed_among_its_finals_goes_on_and_trains_nothing_twice(
    bench: Bench, whole: dict[str, Any]
) -> None:
    process = bench.search("killed", *FOUR, *FINALS)
    run = bench.run("killed")

    def in_the_middle_of_the_second_final() -> bool:
        asked = [event.final for event in events(run) if isinstance(event, FinalAsked)]
        return len(asked) == 2 and trained(run, asked[1]) > 0

    wait_for(in_the_middle_of_the_second_final, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = events(run)
    code, out, err = ended(bench.start("--resume", "killed", "--json"))
    assert code == 0, err
    assert events(run)[: len(before)] == before
    for name in ("leaderboard.csv", "leaderboard.json"):
        assert (run / name).read_text() == (bench.run("whole") / name).read_text()
    assert (run / "best" / "model.safetensors").read_bytes() == (
        bench.run("whole") / "best" / "model.safetensors"
    ).read_bytes()
    assert json.loads(out)["finalists"] == whole["finalists"]
    happened = events(run)
    assert sum(isinstance(event, FinalistsChosen) for event in happened) == 1
    for kind in (FinalAsked, FinalConfirmed):
        assert sum(isinstance(event, kind) for event in happened) == 4
    assert_whole(bench, "killed")
    bench.sent("killed", err)
    assert_mlflow_agrees(bench, "killed")


def test_finals_that_learn_from_the_best_and_from_a_larger_network_can_be_added_and_killed(bench: Bench) -> None:
    code, _, err = ended(bench.search("later", "--trials", "2"))
    assert code == 0, err
    run = bench.run("later")
    before, best = events(run), (run / "best" / "model.safetensors").read_bytes()
    assert b"final" not in (run / "journal.jsonl").read_bytes() + (run / "leaderboard.json").read_bytes()
    finals = ("--final-top", "1", "--final-seeds", "1", "--final-epochs", "1", "--distil", "--teacher-kb", "12")
    process = bench.start("--resume", "later", *finals, "--json", fresh=True)
    wait_for(lambda: any(isinstance(event, FinalAsked) for event in events(run)), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, out, err = ended(bench.start("--resume", "later", "--json"))
    assert code == 0, err
    after = [event for event in events(run)[len(before) :] if not isinstance(event, RunResumed)]
    assert [type(event).__name__ for event in after if not isinstance(event, EpochDone)] == [
        *("FinalistsChosen", "TeacherAsked", "TrialEnded", "SoftLabelsMade"),
        *("FinalAsked", "FinalConfirmed", "TrialEnded", "RunEnded"),
    ], "no trial and no teacher is trained again, and no soft label is made again"
    assert sum(isinstance(event, EpochDone) for event in after) == 4, "the recipe's two cycles, of teacher and final"
    record = fold(read_journal(run / "journal.jsonl"))
    assert record.soft_labels is not None
    best_trial = record.completed()[0].asked.trial
    assert [network.name for network in record.soft_labels.teachers] == [best_trial, "teacher-seed1"]
    _, info = load_model(run / "best" / "model.safetensors")
    assert info.taught == Taught(digest=record.soft_labels.digest, teachers=rounded(record.soft_labels.teachers))
    assert f"- Teachers: {best_trial} (" in (run / "best" / "model_card.md").read_text()
    assert read_teacher_logits(run / "soft_labels.safetensors").taught.digest == record.soft_labels.digest
    assert (run / "best" / "model.safetensors").read_bytes() != best
    (row,) = json.loads(out)["finalists"]
    assert row["confirmation_deviation"] is None and row["rank"] == 1
    assert len([event for event in events(run) if isinstance(event, TrialEnded)]) == 4
    assert_whole(bench, "later")
    bench.sent("later", err)
    assert_mlflow_agrees(bench, "later")


def test_a_dry_run_says_what_the_finals_need(bench: Bench, whole: dict[str, Any]) -> None:
    code, out, err = ended(bench.search("dry", "--dry-run", *FOUR, *FINALS))
    assert code == 0, err
    with_finals = json.loads(out)
    code, out, _ = ended(bench.search("dry", "--dry-run", *FOUR))
    without = json.loads(out)
    disk = with_finals["disk"]
    assert bench.peak_bytes <= disk["running_bytes"] + disk["kept_bytes"] <= 2 * bench.peak_bytes
    assert without["disk"]["total_bytes"] < disk["total_bytes"] and "finals" not in without
    told = {"final_top": 2, "final_seeds": 2, "final_cycles": 2, "final_epochs": 4}
    assert with_finals["finals"] == {**told, "split": "calibration", "clips": 8}
    assert not bench.run("dry").exists()


def test_finals_that_cannot_be_are_refused_in_one_sentence_before_ray_starts(
    bench: Bench, tiny_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*options: str) -> str:
        never = ("--name", "never", "--recipe", "tiny.toml", "--space", "space.toml", "--data", f"csv:{tiny_csv}")
        return refusal(capsys, "search.py", *never, *options, "--storage", bench.storage)

    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("ASC_CACHE", bench.environment["ASC_CACHE"])
    assert "--final-top 9 is more than the 8 trials" in refused("--final-top", "9")
    assert "--final-top must be 0" in refused("--final-top", "-1")
    assert "--final-seeds must be 1 or more, got 0" in refused("--final-top", "2", "--final-seeds", "0")
    assert "give --final-top too" in refused("--final-epochs", "3")
    assert "--final-cycles 1 leaves no cycle after" in refused("--final-top", "2", "--final-cycles", "1")
    assert "--distil says what the finals learn from: give --final-top too" in refused("--distil")
    assert "nowhere does not exist: give a safetensors" in refused("--final-top", "2", "--teacher-logits", "nowhere")
    halved = refused("--final-top", "2", "--calibrate", "temperature")
    assert "too few groups of down_fast, down_slow" in halved and "--calibrate none" in halved
    assert not bench.run("never").exists()
