"""Faults of the machine, done to real processes: full disks, missing permissions, readers that go away.

Each ends with one sentence and exit code 2, without a traceback, and keeps what was finished. Searches are tested in
`test_search_faults.py`, and the output of scripts in the tests of `asc.console.cli`, which all scripts use.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from launched import ROOT, launched
from patience import PATIENCE_S

from asc.config.experiment import Experiment
from asc.runs.events import EpochDone, RunEnded
from asc.runs.journal import read_journal
from asc.runs.record import fold

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
Limited = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment, tiny_model: Path) -> Path:
    """A folder with a config and a model."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "tiny.toml").write_text(tiny_experiment.to_toml())
    (folder / "model.safetensors").write_bytes(tiny_model.read_bytes())
    return folder


@pytest.fixture
def here(bench: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(bench)
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return bench


def start(script: str, *options: str, **more: object) -> subprocess.Popen[str]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([sys.executable, str(ROOT / "launch" / script), *options], text=True, **given)  # type: ignore[call-overload, no-any-return]


def refused(process: subprocess.Popen[str]) -> str:
    """The error sentence of a process; checks that it ends with exit code 2."""
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2 and "Traceback" not in err, err
    (sentence,) = [line for line in err.splitlines() if line.startswith("error: ")]
    return sentence


def epochs(run: Path) -> dict[int, float]:
    """The seconds of each epoch in the journal, which would differ if the epoch were trained again."""
    journal = run / "journal.jsonl"
    events = [entry.event for entry in read_journal(journal)] if journal.exists() else []
    return {event.metrics.epoch: event.metrics.seconds for event in events if isinstance(event, EpochDone)}


def training(data: Path, name: str, *options: str) -> tuple[str, ...]:
    common = ("--config", "tiny.toml", "--data", f"csv:{data}", "--name", name, "--mlflow-uri", "none")
    return ("train.py", *common, *options)


def test_a_training_stopped_by_a_full_disk_says_how_to_resume_and_can_be_resumed(here: Path, tiny_csv: Path) -> None:
    process, run = start(*training(tiny_csv, "full", "--epochs-per-cycle", "12")), here / "runs" / "full"
    deadline = time.monotonic() + PATIENCE_S
    while not epochs(run):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1000, 1000))
    sentence = refused(process)
    assert f"the disk is full at {Path('runs/full')}" in sentence
    assert sentence.endswith("then resume with: python launch/train.py --resume full")
    held = epochs(run)
    assert held and not (run / "best").exists()

    assert launched("train.py", "--resume", "full", "--mlflow-uri", "none") == 0
    after = epochs(run)
    assert sorted(after) == list(range(1, 25)) and {epoch: after[epoch] for epoch in held} == held
    assert (run / "best" / "model.safetensors").is_file()


def test_a_training_whose_output_nobody_reads_is_completed(here: Path, tiny_csv: Path) -> None:
    """Like `train.py ... 2>&1 | head -1`: both outputs go to a pipe whose reader goes away."""
    process = start(*training(tiny_csv, "unheard"), stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=PATIENCE_S) == 2
    record = fold(read_journal(here / "runs" / "unheard" / "journal.jsonl"))
    assert record.ended == RunEnded(outcome="finished", best="t000")
    assert (here / "runs" / "unheard" / "best" / "model.safetensors").is_file()


def test_a_prediction_whose_output_nobody_reads_ends(here: Path, tiny_csv: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    sounds = sorted(map(str, tiny_csv.parent.glob("*-00-*.wav")))
    process = start("predict.py", "model.safetensors", *sounds, "--csv", stdout=write)
    os.close(write)
    assert "standard output was closed" in refused(process)


def test_on_a_full_disk_an_evaluation_is_printed_and_the_earlier_one_is_kept(
    here: Path, capsys: pytest.CaptureFixture[str], file_size_limit: Limited
) -> None:
    assert launched("evaluate.py", "model.safetensors", "--json") == 0
    folder, first = here / "evaluation-valid", json.loads(capsys.readouterr().out)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with file_size_limit(1000):
        code = launched("evaluate.py", "model.safetensors", "--json")
    out, err = capsys.readouterr()
    assert code == 2 and "error: the disk is full at " in err and err.count("error:") == 1, err
    assert json.loads(out) == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("script", "options"),
    [("calibrate.py", ("--output", "out/fused.safetensors")), ("export.py", ("--clips", "3", "--output", "out"))],
)
def test_a_full_disk_is_named_and_no_partial_result_is_left(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    file_size_limit: Limited,
    script: str,
    options: tuple[str, ...],
) -> None:
    with file_size_limit(1000):
        code = launched(script, "model.safetensors", *options)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert "error: the disk is full at out/" in err and "Traceback" not in err
    assert list((here / "out").iterdir()) == []


def test_packing_on_a_full_disk_names_the_cache(
    here: Path, tiny_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], file_size_limit: Limited
) -> None:
    options = ("pack", f"csv:{tiny_csv}", "--sample-rate-hz", "8000", "--cache", str(tmp_path / "cache"))
    with file_size_limit(1000):
        assert launched("data.py", *options) == 2
    err = capsys.readouterr().err
    assert f"error: {tmp_path / 'cache'} cannot be written to (there is no room left)" in err
    assert launched("data.py", *options) == 0, "leftovers must not prevent another attempt"


def _without_rights() -> None:
    """Make root respect file permissions, in this process and its children."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            assert libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0


@pytest.fixture
def read_only_run(here: Path, tiny_csv: Path) -> Path:
    assert launched(*training(tiny_csv, "theirs", "--cycles", "1", "--epochs-per-cycle", "1")) == 0
    run = here / "runs" / "theirs"
    run.chmod(0o555)
    (run / "best" / "model.safetensors").chmod(0)
    yield run
    run.chmod(0o755)
    (run / "best" / "model.safetensors").chmod(0o644)


def test_a_file_without_permission_is_named(read_only_run: Path, tiny_csv: Path) -> None:
    model = "runs/theirs/best/model.safetensors"
    processes = {
        "runs/theirs/mlflow.lock cannot be used (Permission denied): check that you may": ("track.py", "theirs"),
        f"{model} cannot be read (Permission denied)": ("predict.py", model, "x.wav"),
        "--storage runs/theirs cannot be written (Permission denied)": training(
            tiny_csv, "mine", "--storage", "runs/theirs"
        ),
    }
    for said, command in processes.items():
        assert said in refused(start(*command, preexec_fn=_without_rights))


def test_ctrl_c_stops_cleanly_even_if_nobody_reads_the_output(here: Path, tiny_csv: Path) -> None:
    process = start(*training(tiny_csv, "stopped", "--epochs-per-cycle", "200"), stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    run, deadline = here / "runs" / "stopped", time.monotonic() + PATIENCE_S
    while len(epochs(run)) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE_S) == 130
    ended = fold(read_journal(run / "journal.jsonl")).ended
    assert ended is not None and ended.outcome == "interrupted"
