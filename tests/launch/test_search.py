"""launch/search.py as a user starts it, with real Ray, MLflow and audio: whole, killed, stopped and resumed."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import torch
from launched import refusal
from search_bench import SPACE, Bench, assert_mlflow_agrees, assert_whole, ended, events, listening, loopback, wait_for

from asc.model_file.artefact import load_model
from asc.runs.journal import EpochDone, TrialEnded, fold, read_journal


@pytest.fixture(scope="module")
def whole(bench: Bench) -> dict[str, object]:
    """The JSON output of an uninterrupted search of 6 trials, one at a time."""
    process = bench.search("whole", "--trials", "6", "--max-concurrent", "1", "--seed", "3")
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


def test_a_killed_and_resumed_search_gives_exactly_the_same_results(bench: Bench, whole: dict[str, object]) -> None:
    process = bench.search("killed", "--trials", "6", "--max-concurrent", "1", "--seed", "3")
    run = bench.run("killed")

    def in_the_middle_of_the_third_trial() -> bool:
        return any(isinstance(e, EpochDone) and e.trial == "t002" for e in events(run))

    wait_for(in_the_middle_of_the_third_trial, process)
    assert listening(bench.mark) and all(loopback(address) for address in listening(bench.mark))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = ended(bench.start("--resume", "killed"))
    assert code == 0, err
    for name in ("leaderboard.csv", "leaderboard.json"):
        assert (run / name).read_text() == (bench.run("whole") / name).read_text()
    assert_whole(bench, "killed")
    bench.sent("killed", err)
    assert_mlflow_agrees(bench, "killed")


def test_ctrl_c_writes_the_results_so_far_even_without_an_mlflow_server(bench: Bench) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    process = bench.search("stopped", "--trials", "50", "--mlflow-uri", f"http://127.0.0.1:{port}")
    run = bench.run("stopped")
    wait_for(lambda: any(isinstance(e, TrialEnded) and e.outcome == "completed" for e in events(run)), process)
    os.killpg(process.pid, signal.SIGINT)
    code, out, err = ended(process)
    assert code == 130, err
    assert "--resume stopped" in err and "Traceback" not in err
    assert "launch/track.py stopped" in err, "it must say how to send the events later"
    assert json.loads(out)["best"]["log_loss"] > 0
    assert (run / "best" / "model.safetensors").is_file() and (run / "leaderboard.csv").is_file()
    assert not (run / ".ray").exists()


def test_missing_data_halt_the_search_with_one_error(bench: Bench, tiny_csv: Path) -> None:
    copy = bench.folder / "copy"
    shutil.copytree(tiny_csv.parent, copy)
    options = ("--recipe", "tiny.toml", "--space", "space.toml", "--data", f"csv:{copy / 'meta.csv'}")
    process = bench.start(*options, "--name", "lost", "--trials", "3", "--mlflow-uri", "none")
    run = bench.run("lost")
    wait_for(lambda: bool(events(run)), process)
    (copy / "up_slow-00-0.wav").unlink()
    code, out, err = ended(process)
    assert code == 2, err
    assert err.count("error:") == 1 and "up_slow-00-0.wav" in err and "--resume lost" in err
    assert not [event for event in events(run) if isinstance(event, TrialEnded)], (
        "trials must stay unfinished, to be resumed"
    )
    assert "no trial was trained to its end" in out


def test_a_config_too_large_for_memory_fails_without_ending_the_search(bench: Bench) -> None:
    space = SPACE + '"augment.crop_s" = { choices = [0.4, 1e9] }\n'
    (bench.folder / "huge.toml").write_text(space)
    code, _, err = ended(bench.search("huge", "--trials", "4", "--space", "huge.toml", "--mlflow-uri", "none"))
    assert code == 0, err
    record = fold(read_journal(bench.run("huge") / "journal.jsonl"))
    for trial in record.trials.values():
        assert trial.ended is not None
        huge = trial.asked.config["augment.crop_s"] == 1e9
        assert (trial.ended.outcome == "failed") == huge, trial.ended
        assert len(trial.retries) == (2 if huge else 0)
        assert not huge or (trial.ended.reason or "").startswith("it ran out of memory"), trial.ended.reason
    assert any(trial.retries for trial in record.trials.values())


def test_a_search_whose_trainings_all_diverge_ends_with_one_sentence(bench: Bench) -> None:
    wild = SPACE.replace("low = 2e-3, high = 2e-2, log = true", "choices = [1e30]")
    (bench.folder / "wild.toml").write_text(wild)
    code, _, err = ended(bench.search("wild", "--trials", "1", "--space", "wild.toml", "--mlflow-uri", "none"))
    assert code == 2 and err.count("error:") == 1 and "Traceback" not in err, err
    assert "error: no trial was trained to its end: the loss was no longer a number in epoch 1" in err
    assert err.endswith("; make schedule.learning_rate_max smaller in the space\n")
    assert (bench.run("wild") / "leaderboard.csv").read_text().count("diverged") == 1


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


def test_ctrl_c_before_a_trial_ends_names_only_existing_files(bench: Bench) -> None:
    process = bench.search("early", "--trials", "2", "--epochs-per-cycle", "200", "--mlflow-uri", "none")
    run = bench.run("early")
    wait_for(lambda: any(isinstance(e, EpochDone) for e in events(run)), process)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130 and "--resume early" in err and "best/" not in err, err
    (named,) = [line.rpartition(": ")[2] for line in err.splitlines() if line.startswith("results in")]
    assert all((run / name).exists() for name in named.split(", "))


def test_a_missing_cluster_token_gives_one_sentence(bench: Bench) -> None:
    bench.environment.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH="/nowhere")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        address = f"127.0.0.1:{somebody.getsockname()[1]}"
        code, _, err = ended(bench.search("no-token", "--address", address, "--mlflow-uri", "none"))
    del bench.environment["RAY_AUTH_MODE"], bench.environment["RAY_AUTH_TOKEN_PATH"]
    assert code == 2 and "Traceback" not in err, err
    assert err.count("error:") == 1 and "/nowhere" in err and "RAY_AUTH_TOKEN_PATH" in err


def test_a_dry_run_predicts_disk_use_and_leaves_nothing(bench: Bench, whole: dict[str, object]) -> None:
    code, out, err = ended(bench.search("dry", "--dry-run", "--trials", "6", "--max-concurrent", "1"))
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
