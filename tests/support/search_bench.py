"""Start searches like a user, for the tests of launch/search.py, and inspect what they leave.

All processes of a bench carry an environment variable by which they are found, so that a test kills only its own.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from forked import Forked
from mlflow import MlflowClient
from patience import PATIENCE_S

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.model_file.tensors import read_tensors
from asc.runs.events import EpochDone, TrialAsked, TrialEnded, TrialRetried
from asc.runs.journal import read_journal
from asc.runs.record import fold
from asc.tracking.update import CURVES, rounded

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
schema = 1
[parameters]
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
"architecture.widths.1" = { low = 4, high = 24, step = 4 }
"compression.storage" = { choices = ["int8", "float16"] }
"compression.prune_ratio" = { choices = [0.0, 0.5] }
"schedule.learning_rate_max" = { low = 2e-3, high = 2e-2, log = true }
"schedule.cycles" = { choices = [2] }
"schedule.epochs_per_cycle" = { choices = [3] }
"""


_INHERITED = dict(os.environ)
# The other variables of Ray that tests set are read later: by Ray's own processes when they start, or at each call.
_READ_ON_IMPORT = ("PYTHON", "RAY_AUTH_", "RAY_raylet_start_wait_time_s")
Process = subprocess.Popen[str] | Forked


class Bench:
    """A folder with a recipe and a space in which searches are started. `storage` is a bucket, or None for a folder."""

    def __init__(
        self, folder: Path, data: Path, cache: Path, experiment: Experiment, *, storage: str | None = None
    ) -> None:
        self.folder, self.storage = folder, storage or str(folder / "runs")
        self.peak_bytes = 0
        self.fault: str | None = None
        (folder / "tiny.toml").write_text(experiment.to_toml())
        (folder / "space.toml").write_text(SPACE)
        self._data = data
        self.mark = f"ASC_BENCH={folder}"
        self.environment = {**os.environ, "ASC_BENCH": str(folder), "ASC_CACHE": str(cache), "OMP_NUM_THREADS": "1"}

    def start(self, *options: str, fresh: bool = False) -> Process:
        """Start launch/search.py with these options, inside `faulty_ray.py` if `fault` is set.

        It is forked (`forked.py`), unless it must be `fresh` or the environment has a variable that is read on import.
        """
        return self._launch("search.py", *options, fresh=fresh)

    def _launch(self, script: str, *options: str, fresh: bool = False) -> Process:
        within = [str(ROOT / "tests" / "support" / "faulty_ray.py"), self.fault] if self.fault else []
        command = [*within, str(ROOT / "launch" / script), *options, "--storage", self.storage]
        changed = self.environment.items() - _INHERITED.items()
        fresh = fresh or any(name.startswith(_READ_ON_IMPORT) for name, _ in changed)
        if not fresh:
            return Forked(command, cwd=self.folder, env=self.environment)
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def search(self, name: str, *options: str, fresh: bool = False) -> Process:
        """Start a search with these options: one trial at a time on one processor, unless they say otherwise."""
        common = ["--recipe", "tiny.toml", "--space", "space.toml", "--data", f"csv:{self._data}", "--name", name]
        alone = [] if "--max-concurrent" in options else ["--max-concurrent", "1", "--cpus-per-trial", "1"]
        return self.start(*common, "--budget-kb", "4", "--json", *alone, *options, fresh=fresh)

    def track(self, name: str, uri: str) -> Process:
        """Start launch/track.py for a search, in a fresh process."""
        return self._launch("track.py", name, "--mlflow-uri", uri, fresh=True)

    def sent(self, name: str, said: str, uri: str | None = None) -> None:
        """Send what is left for MLflow if a search asked for it at its end (`said`)."""
        if "launch/track.py" in said:
            code, _, err = ended(self.track(name, uri or f"sqlite:///{self.folder / 'runs' / 'mlflow.db'}"))
            assert code == 0, err

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def watch_disk(self, process: Process) -> None:
        """Record the peak disk use of runs and tracking until the process ends."""
        while process.poll() is None:
            taken = 0
            for folder, _, files in os.walk(self.folder / "runs"):  # skips deleted folders; rglob raises
                for file in files:
                    with contextlib.suppress(OSError):  # deleted meanwhile
                        taken += os.stat(os.path.join(folder, file)).st_size
            self.peak_bytes = max(self.peak_bytes, taken)
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """The pids of the processes that train or wait for a trial."""
        return processes(self.mark, "ray::run_trial", "ray::ImplicitFunc")


def ended(process: Process) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    code = process.returncode
    assert code is not None
    return code, out, err


def wait_for(condition: Callable[[], bool], process: Process | None = None) -> None:
    """Wait for a condition, and fail if `process` ends before it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)


def listening(mark: str, driver: Process) -> set[str]:
    """Local addresses (hexadecimal, as in /proc) on which a search and its processes, which have a mark, listen."""
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(driver.pid) and not _marked(process, mark):
                continue
            inodes |= {os.readlink(handle) for handle in (process / "fd").iterdir()}
        except OSError:
            continue
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def _marked(process: Path, mark: str) -> bool:
    """Whether a process in /proc has this variable in its environment, or is forked (`forks.py`) with it."""
    if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
        return True
    return any(os.readlink(handle).startswith(f"/memfd:{mark} ") for handle in (process / "fd").iterdir())


def loopback(address: str) -> bool:
    """Whether an address is 127.0.0.1, ::1, or 127.0.0.1 mapped to IPv6."""
    return address in ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


def events(run: Path) -> list[object]:
    path = run / "journal.jsonl"
    return list(_events(path, path.stat().st_size)) if path.exists() else []


@lru_cache(maxsize=16)  # it is polled, and a journal of the same size has the same events
def _events(path: Path, size_bytes: int) -> tuple[object, ...]:
    return tuple(entry.event for entry in read_journal(path))


def processes(mark: str, *titles: str) -> list[int]:
    """The pids of a bench's processes whose command line contains one of `titles`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "cmdline").read_text("utf-8", "replace")
            if any(title in said for title in titles):  # few pass, so this comes first
                if _marked(process, mark):
                    found.append(int(process.name))
        except OSError:
            continue
    return sorted(found)


def assert_mlflow_agrees(bench: Bench, name: str, uri: str | None = None) -> None:
    """Check that MLflow has one parent and one run per trial and per final, all finished, with each epoch once."""
    client = MlflowClient(uri or f"sqlite:///{bench.folder / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("asc")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    parents = [r for r in runs if r.info.run_name == name]
    assert len(parents) == 1 and parents[0].info.status == "FINISHED"
    best = (bench.run(name) / "best" / "model.safetensors").read_bytes()
    (version,) = client.search_model_versions(
        f"name = '{name}' AND tags.`asc.digest` = '{hashlib.sha256(best).hexdigest()}'"
    )
    assert version.run_id == parents[0].info.run_id
    children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    record = fold(read_journal(bench.run(name) / "journal.jsonl"))
    trainings = [*record.trials.values(), *record.after_trials()]
    assert sorted(r.info.run_name for r in children) == sorted(t.asked.title for t in trainings)
    assert all(r.info.status == "FINISHED" for r in children)
    for child in children:
        trial = next(t for t in trainings if t.asked.title == child.info.run_name)
        assert trial.ended is not None and child.data.tags["outcome"] == trial.ended.outcome
        points = client.get_metric_history(child.info.run_id, f"{CURVES}/valid_log_loss")
        assert [(p.step, p.value) for p in sorted(points, key=lambda p: p.step)] == [
            (epoch, rounded(metrics.valid_log_loss)) for epoch, metrics in sorted(trial.epochs.items())
        ]


def assert_whole(bench: Bench, name: str) -> None:
    """Check that trials were asked and ended once, no epoch is missing or doubled, and the leaderboard is right."""
    happened, run = events(bench.run(name)), bench.run(name)
    record = fold(read_journal(run / "journal.jsonl"))
    assert record.ended is not None and record.ended.outcome == "finished"
    for once in (
        [e.trial for e in happened if isinstance(e, TrialAsked)],
        [e.trial for e in happened if isinstance(e, TrialEnded)],
        [(e.trial, e.metrics.epoch) for e in happened if isinstance(e, EpochDone)],
    ):
        assert max(Counter(once).values()) == 1
    for trial in (*record.trials.values(), *record.after_trials()):
        assert trial.ended is not None
        assert sorted(trial.epochs) == list(range(1, trial.ended.epochs + 1))
    rows = {row["trial"]: row for row in json.loads((run / "leaderboard.json").read_text())}
    assert {n: row["outcome"] for n, row in rows.items()} == {
        n: t.ended.outcome for n, t in record.trials.items() if t.ended
    }
    leftovers = [path for path in (run / "trials").rglob("*") if path.is_file() and path.name != "model.safetensors"]
    assert not leftovers, "checkpoints of ended trials must be deleted"
    assert not (run / ".ray").exists()


def trained(run: Path, trial: str) -> int:
    """The number of epochs of a trial in the journal."""
    return sum(isinstance(e, EpochDone) and e.trial == trial for e in events(run))


def retries(run: Path, trial: str) -> list[str]:
    """Why a trial was tried again, in order."""
    return [e.reason for e in events(run) if isinstance(e, TrialRetried) and e.trial == trial]


def outcomes(run: Path) -> dict[str, str]:
    """How each trial ended, if it has."""
    return {e.trial: e.outcome for e in events(run) if isinstance(e, TrialEnded)}


def history(run: Path, trial: str) -> list[dict[str, Any]]:
    """The epochs in a trial's checkpoint; empty without a checkpoint."""
    try:
        return list(read_tensors(run / "trials" / trial / "last.safetensors")[1]["history"])
    except InputError:
        return []


def epochs(run: Path, trial: str) -> dict[int, float]:
    """The seconds of each epoch of a trial in the journal."""
    return {e.metrics.epoch: e.metrics.seconds for e in events(run) if isinstance(e, EpochDone) and e.trial == trial}
