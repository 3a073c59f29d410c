"""Searches that end in another way than planned: interrupted, without data, with trials that cannot be trained."""

import json
import os
import re
import shutil
import signal
import socket
from pathlib import Path

from search_bench import SPACE, Bench, ended, events, wait_for

from asc.runs.events import EpochDone, TrialEnded
from asc.runs.journal import read_journal
from asc.runs.record import fold

ALONE = ("--max-concurrent", "1", "--cpus-per-trial", "1")


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
    process = bench.start(*options, *ALONE, "--name", "lost", "--trials", "3", "--mlflow-uri", "none")
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
    options = ("--trials", "3", "--seed", "1")  # of these, the second trial is too large
    code, _, err = ended(bench.search("huge", *options, "--space", "huge.toml", "--mlflow-uri", "none"))
    assert code == 0, err
    record = fold(read_journal(bench.run("huge") / "journal.jsonl"))
    assert len(record.trials) == 3
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


def test_a_termination_with_all_of_ray_names_only_existing_files(bench: Bench) -> None:
    """As `timeout` and cluster schedulers do it."""
    process = bench.search("early", "--trials", "2", "--epochs-per-cycle", "200", "--mlflow-uri", "none")
    run = bench.run("early")
    wait_for(lambda: any(isinstance(e, EpochDone) for e in events(run)), process)
    os.killpg(process.pid, signal.SIGTERM)
    code, _, err = ended(process)
    assert code == 130 and "--resume early" in err and "best/" not in err and "error:" not in err, err
    (named,) = re.findall(r"results (?:so far are )?in [^:]*: ([^;\n]*)", err)
    assert all((run / name).exists() for name in named.split(", "))


def test_a_missing_cluster_token_gives_one_sentence(bench: Bench) -> None:
    bench.environment.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH="/nowhere")
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        address = f"127.0.0.1:{somebody.getsockname()[1]}"
        code, _, err = ended(bench.search("no-token", "--address", address, "--mlflow-uri", "none"))
    del bench.environment["RAY_AUTH_MODE"], bench.environment["RAY_AUTH_TOKEN_PATH"]
    assert code == 2 and "Traceback" not in err, err
    assert err.count("error:") == 1 and "/nowhere" in err and "RAY_AUTH_TOKEN_PATH" in err
