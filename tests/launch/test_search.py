"""launch/search.py as a user starts it, with real Ray, MLflow and audio: whole, killed, stopped and resumed."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from launched import refusal
from search_bench import (
    SPACE,
    Bench,
    assert_mlflow_agrees,
    assert_whole,
    ended,
    events,
    listening,
    loopback,
    processes,
    wait_for,
)

from asc.model_file.artefact import load_model
from asc.runs.events import EpochDone
from asc.runs.journal import read_journal
from asc.runs.record import fold

SIX = ("--trials", "6", "--max-concurrent", "1", "--seed", "3", "--calibrate", "multinomial")


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, object]:
    """The JSON output of an uninterrupted search of 6 trials, one at a time."""
    process = bench.search("whole", *SIX, fresh=True)
    bench.watch_disk(process)
    code, out, err = ended(process)
    assert code == 0, err
    assert out.count("\n") == 1, "standard output must be one JSON object"
    for chatter in ("INFO", "WARNING", "raylet", "Trial status", "Trial name", "[I 20"):
        assert chatter not in err, f"messages of Ray or Optuna must not be shown: {err}"
    answer: dict[str, object] = json.loads(out)
    return answer


def test_every_trial_fits_the_budget_and_the_best_is_saved(bench: Bench, whole: dict[str, object]) -> None:
    record = fold(read_journal(bench.run("whole") / "journal.jsonl"))
    assert len(record.trials) == 6 and record.ended is not None and record.ended.outcome == "finished"
    for trial in record.trials.values():
        assert trial.asked.nonzero_bytes <= 4 * 1024
        assert trial.ended is not None and trial.ended.outcome in ("completed", "stopped")
        assert trial.ended.built in (None, trial.asked.predicted)
        pruned = trial.asked.config["compression.prune_ratio"] != 0
        assert trial.asked.config["calibration.method"] == ("temperature" if pruned else "multinomial")
        assert (trial.ended.calibrated is None) == (trial.ended.outcome == "stopped")
    assert {t.asked.config["compression.storage"] for t in record.trials.values()} == {"int8", "float16"}
    assert {t.asked.config["compression.prune_ratio"] for t in record.trials.values()} == {0.0, 0.5}
    best = record.completed()[0]
    network, info = load_model(bench.run("whole") / "best" / "model.safetensors")
    assert info.experiment.flat() == best.asked.config
    assert best.ended is not None and info.evaluation.log_loss == round(best.ended.log_loss or 0, 4)
    stored = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    assert stored == best.asked.size_bytes
    assert (bench.run("whole") / "best" / "config.toml").read_text() == info.experiment.to_toml()
    ranked = [row for row in json.loads((bench.run("whole") / "leaderboard.json").read_text()) if row["rank"]]
    assert ranked[0]["trial"] == best.asked.trial
    assert all(row["predicted_bytes"] == row["counted_bytes"] <= 4 * 1024 for row in ranked)
    assert [row["log_loss"] for row in ranked] == sorted(row["log_loss"] for row in ranked)
    assert whole["best"]["trial"] == best.asked.trial  # type: ignore[index]


def test_the_report_page_shows_the_search(bench: Bench, whole: dict[str, object]) -> None:
    page = bench.run("whole") / "report.html"
    assert whole["report"] == str(page)
    record, text = fold(read_journal(bench.run("whole") / "journal.jsonl")), page.read_text()
    assert "; finished, 6 of 6 trials" in text
    for trial in record.completed():
        assert trial.ended is not None and f">{trial.ended.log_loss:.4f}<" in text
    shown = ("log_loss-kilobytes", "curves", "classes", "confusion", "reliability")
    assert all(f'data-figure="{key}"' in text for key in shown)
    evaluation = bench.run("whole") / "best" / "evaluation-valid"
    judged, best = json.loads((evaluation / "evaluation.json").read_text()), record.completed()[0].ended
    assert best is not None and judged["log_loss"] == pytest.approx(best.log_loss)
    assert text.count("<audio ") == json.loads((evaluation / "mistakes.json").read_text())["total"]


def test_a_killed_and_resumed_search_gives_exactly_the_same_results(bench: Bench, whole: dict[str, object]) -> None:
    process = bench.search("killed", *SIX)
    run = bench.run("killed")

    def in_the_middle_of_the_third_trial() -> bool:
        return any(isinstance(e, EpochDone) and e.trial == "t002" for e in events(run))

    wait_for(in_the_middle_of_the_third_trial, process)
    addresses = listening(bench.mark, process)
    assert addresses and all(loopback(address) for address in addresses)
    assert len(bench.workers()) == len(processes(bench.mark, "raylet/raylet")) == 1
    for needless in ("log_monitor.py", "monitor.py", "dashboard/dashboard.py", "ray::IDLE"):
        assert not processes(bench.mark, needless), needless
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = ended(bench.start("--resume", "killed"))
    assert code == 0, err
    for name in ("leaderboard.csv", "leaderboard.json"):
        assert (run / name).read_text() == (bench.run("whole") / name).read_text()
    assert_whole(bench, "killed")
    bench.sent("killed", err)
    assert_mlflow_agrees(bench, "killed")


def test_wrong_input_gives_one_sentence_before_ray_starts(
    bench: Bench, tiny_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*options: str) -> str:
        return refusal(capsys, "search.py", *options, "--storage", bench.storage)

    monkeypatch.chdir(bench.folder)
    monkeypatch.setenv("ASC_CACHE", bench.environment["ASC_CACHE"])
    never = ("--name", "never", "--recipe", "tiny.toml", "--data", f"csv:{tiny_csv}")
    assert "takes" in refused(*never, "--space", "space.toml", "--budget-kb", "0.1")
    (bench.folder / "misspelt.toml").write_text(SPACE.replace("widths.0", "widhts.0"))
    assert "architecture.widths.0" in refused(*never, "--space", "misspelt.toml")
    assert "nowhere" in refused("--name", "never", "--data", "folder:nowhere")
    assert "has no run none" in refused("--resume", "none")
    assert "has no run none" in refused(*never, "--space", "space.toml", "--warm-start", "none")
    assert "--warm-start never is this search" in refused(*never, "--space", "space.toml", "--warm-start", "never")
    several = (*never, "--space", "space.toml", "--budget-kb")
    assert "--budget-kb must be a number above 0, or several" in refused(*several, "4,many")
    assert "has a budget twice" in refused(*several, "4,2,4")
    assert "give one --budget-kb" in refused(*several, "2,4", "--final-top", "1")
    assert "is less than the 2 budgets" in refused(*several, "2,4", "--trials", "1")
    assert "takes" in refused(*several, "0.1,4")
    assert "--reduction-factor must be 2 or more" in refused(*never, "--reduction-factor", "1")
    assert "dcase2021" in refused(*never, "--space", "space.toml", "--rule", "dcase2020")
    assert "--mlflow-uri" in refused(*never, "--space", "space.toml", "--mlflow-uri", "ftp://x")
    assert "free: make room" in refused(*never, "--space", "space.toml", "--trials", "1000000000000")
    gpus, cores = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    assert f"torch finds on this machine ({gpus})" in refused(*never, "--gpus-per-trial", str(gpus + 1))
    assert f"this machine has ({cores})" in refused(*never, "--cpus-per-trial", str(cores + 1))
    assert not bench.run("never").exists()


def test_a_used_name_is_refused_before_heavy_imports(bench: Bench) -> None:
    run = bench.run("taken")
    run.mkdir(parents=True)
    (run / "journal.jsonl").write_text("")
    bench.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    code, out, err = ended(bench.start("--name", "taken"))
    del bench.environment["PYTHONPROFILEIMPORTTIME"]
    lines = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert (code, out) == (2, "") and len(lines) == 1, lines
    assert lines[0].startswith("error: ") and "taken exists: give another --name" in lines[0]
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "asc.search.options" in imported and not imported & {"torch", "ray", "mlflow", "pyarrow"}
    assert [path.name for path in run.iterdir()] == ["journal.jsonl"]


def test_a_dry_run_predicts_disk_use_and_leaves_nothing(bench: Bench, whole: dict[str, object]) -> None:
    code, out, err = ended(bench.search("dry", "--dry-run", *SIX))
    assert code == 0, err
    answer = json.loads(out)
    disk = answer["disk"]
    assert disk["audio_there"], "other searches have already packed it"
    assert bench.peak_bytes <= disk["running_bytes"] + disk["kept_bytes"] == disk["total_bytes"] <= 2 * bench.peak_bytes
    assert 0 < answer["fit_share"] < answer["repairable_share"] == 1
    assert answer["smallest_bytes"] < answer["largest_bytes"] <= 4 * 1024
    assert answer["minutes"][0] < answer["minutes"][1]
    assert not bench.run("dry").exists()


def test_a_setting_that_cannot_change_on_resume_is_refused(
    bench: Bench, whole: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--resume", "whole", "--budget-kb", "8", "--storage", bench.storage)
    assert "--budget-kb" in refusal(capsys, "search.py", *options)
