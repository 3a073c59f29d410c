"""A run's folder, `STORAGE/NAME/`: its journal, and `best/` with the model file and its config."""

import shutil
import subprocess
from pathlib import Path

from asc.artefact import ModelInfo, load_model
from asc.checkpoint import write_bytes
from asc.errors import InputError

JOURNAL = "journal.jsonl"
BEST_FOLDER = "best"
MODEL = "model.safetensors"
CONFIG = "config.toml"


def new_run_folder(storage: Path, name: str) -> Path:
    """Make the folder of a new run.

    Raises:
        InputError: the name is no plain folder name, a run of this name exists, or the storage cannot be written.
    """
    if not name or name != Path(name).name or name.startswith("."):
        raise InputError(f"--name {name}: give a plain folder name, without slashes or a leading dot")
    folder = storage / name
    try:
        if (folder / JOURNAL).exists():
            raise InputError(f"{folder} exists: give another --name, or go on with it by --resume {name}")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--storage {storage} cannot be written ({error.strerror}): give a folder of yours") from error
    return folder


def run_folder(storage: Path, name: str) -> Path:
    """The folder of a run that exists.

    Raises:
        InputError: there is none of this name; those there are named.
    """
    folder = storage / name
    if not (folder / JOURNAL).is_file():
        names = sorted(path.parent.name for path in storage.glob(f"*/{JOURNAL}"))
        known = f"the runs there are {', '.join(names)}" if names else "there are none yet"
        raise InputError(f"{storage} has no run {name}: {known}")
    return folder


def publish(folder: Path, model: Path) -> ModelInfo:
    """Put a model file and its config into the run's `best/`; what the file says of itself.

    Raises:
        InputError: the model file is missing or damaged.
    """
    _, info = load_model(model)
    best = folder / BEST_FOLDER
    write_bytes(best / MODEL, model.read_bytes())
    write_bytes(best / CONFIG, info.experiment.to_toml().encode())
    return info


def git_commit() -> str | None:
    """The commit that this source tree is at, or None where it is none or git is missing."""
    git = shutil.which("git")
    if git is None:
        return None
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run(
        [git, "-C", str(root), "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() or None
