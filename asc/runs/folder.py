"""A run's folder, `STORAGE/NAME/`: its journal, and `best/` with the model file, its config and its model card.

If the storage is a bucket, `runs/NAME/` is a working copy of the folder there, and asc.runs.mirror keeps the two in
step.
"""

import fcntl
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from asc.errors import InputError
from asc.model_file.artefact import load_model
from asc.model_file.model_info import ModelInfo
from asc.model_file.tensors import write_bytes
from asc.run_files import (
    BEST_EPOCH,
    BEST_FOLDER,
    BUCKET_NOTE,
    CONFIG_FILE,
    JOURNAL,
    LAST_EPOCH,
    LEADERBOARD_CSV,
    LEADERBOARD_JSON,
    MODEL_CARD,
    MODEL_FILE,
    REPORT_PAGE,
)
from asc.runs.bucket import Bucket
from asc.runs.journal import read_journal
from asc.runs.model_card import Origin, model_card, origin
from asc.runs.record import fold
from asc.runs.storage import bucket_of, check_new_run, run_bucket, runs_folder, unwritable

# The files of a run that a bucket holds beside the journal and the trials. LAST_EPOCH names the best epoch, so
# BEST_EPOCH must never be older: files are copied by reading in this order and writing in the opposite one.
KEPT_FILES = (
    *(LAST_EPOCH, BEST_EPOCH, LEADERBOARD_JSON, LEADERBOARD_CSV, REPORT_PAGE),
    *(f"{BEST_FOLDER}/{MODEL_CARD}", f"{BEST_FOLDER}/{CONFIG_FILE}", f"{BEST_FOLDER}/{MODEL_FILE}"),
)


class RunInUse(InputError):
    """A working copy cannot be updated, because a process is running the run."""


def new_run_folder(storage: str | Path, name: str) -> Path:
    """Create the folder of a new run.

    Raises:
        InputError: as `check_new_run`, or the storage cannot be written.
    """
    check_new_run(storage, name)
    folder = runs_folder(storage) / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if bucket_of(storage) is not None:
            write_bytes(folder / BUCKET_NOTE, str(storage).encode())
    except OSError as error:
        raise unwritable(storage, error) from error
    return folder


def run_folder(storage: str | Path, name: str) -> Path:
    """The folder of an existing run. For a run in a bucket, this is the working copy, updated from the bucket.

    Raises:
        InputError: no run has this name (the message names those that exist), or the local folder is of another run.
        StorageError: the bucket cannot be reached, or refuses access.
    """
    bucket, runs = bucket_of(storage), runs_folder(storage)
    folder = runs / name
    if bucket is not None:
        if (folder / JOURNAL).is_file() and run_bucket(folder) != bucket.at(name):
            raise InputError(f"{folder} is not a working copy of {bucket.at(name)}: move it away, or correct --storage")
        fetch(bucket.at(name), folder)
        write_bytes(folder / BUCKET_NOTE, str(storage).encode())
    elif (kept := run_bucket(folder)) is not None:
        fetch(kept, folder)
    if not (folder / JOURNAL).is_file():
        names = bucket.folders() if bucket else sorted(path.parent.name for path in runs.glob(f"*/{JOURNAL}"))
        known = f"its runs are {', '.join(names)}" if names else "it has no runs yet"
        raise InputError(f"{storage} has no run {name}: {known}")
    return folder


def readable_run_folder(storage: str | Path, name: str) -> Path:
    """The folder of an existing run, to read from; unlike `run_folder`, also while a process here is running the run.

    Raises:
        InputError: as `run_folder`.
        StorageError: as `run_folder`.
    """
    try:
        return run_folder(storage, name)
    except RunInUse:
        return runs_folder(storage) / name


def fetch(bucket: Bucket, folder: Path) -> None:
    """Update a working copy from the bucket; a copy that is ahead of the bucket stays as it is.

    Raises:
        InputError: neither journal is a continuation of the other, or (`RunInUse`) another process is running the run.
        StorageError: the bucket cannot be reached, or refuses access.
    """
    there = bucket.get(JOURNAL)
    if there is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / JOURNAL).open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunInUse(f"{folder} is in use: another process is running it; wait for it or stop it") from error
        file.seek(0)
        here = file.read()
        here = here[: here.rfind(b"\n") + 1]  # drop a half-written last line
        if here.startswith(there):
            return
        if not there.startswith(here):
            raise two_runs(folder, bucket)
        # The journal is written last: once it is complete, the other files are too.
        for name, data in reversed([(name, bucket.get(name)) for name in KEPT_FILES]):
            if data is not None:
                write_bytes(folder / name, data)
        file.truncate(len(here))
        file.write(there[len(here) :])
        file.flush()
        os.fsync(file.fileno())


def two_runs(folder: Path, bucket: Bucket) -> InputError:
    """The error for a working copy and a bucket folder of which neither is a continuation of the other."""
    return InputError(
        f"{folder} and {bucket} hold different runs of one name, or one run that went on in two places: move away the "
        "one that you do not want, or give another --name"
    )


def publish(folder: Path, model: Path, *, budget_kb: float | None = None) -> ModelInfo:
    """Save a model file, its config and its model card in the run's `best/`; return the information in its header.

    With a `budget_kb`, it is the best network within that one of several budgets: the folder is `best-16kb/`, say.

    Raises:
        InputError: the model file is missing or damaged, or the journal is damaged.
    """
    _, info = load_model(model)
    best = folder / (BEST_FOLDER if budget_kb is None else best_folder(budget_kb))
    write_bytes(best / MODEL_FILE, model.read_bytes())
    write_bytes(best / CONFIG_FILE, info.experiment.to_toml().encode())
    journal = folder / JOURNAL
    entries = read_journal(journal) if journal.is_file() else ()
    made = origin(fold(entries)) if entries else Origin()
    if budget_kb is not None:
        made = replace(made, budget_kb=budget_kb)
    write_bytes(best / MODEL_CARD, model_card(info, made).encode())
    return info


def best_folder(budget_kb: float) -> str:
    """The folder of the best network within one of several budgets."""
    return f"{BEST_FOLDER}-{budget_kb:g}kb"


def git_commit() -> str | None:
    """The commit of this source tree, or None if it is not a git checkout or git is missing."""
    git = shutil.which("git")
    if git is None:
        return None
    root = Path(__file__).resolve().parents[2]
    answer = subprocess.run(
        [git, "-C", str(root), "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None
