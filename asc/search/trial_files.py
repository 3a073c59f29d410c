"""Where the checkpoints and the model of a trial are, and what is left of them when it has ended."""

from pathlib import Path

from asc.run_files import MODEL_FILE, TRIALS_FOLDER


def trial_folder(run_folder: Path, name: str) -> Path:
    """The folder of a trial's checkpoints and model."""
    return run_folder / TRIALS_FOLDER / name


def remove_checkpoints(folder: Path) -> None:
    """Remove all files of an ended trial but its model: checkpoints, and partial files of killed workers."""
    for path in [*folder.glob("*.safetensors"), *folder.glob(".*.tmp")]:
        if path.name != MODEL_FILE:
            path.unlink(missing_ok=True)
