"""The commands that a user may need next: to go on with a search, or to use its best network."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from asc.launchers import command
from asc.run_files import BEST_FOLDER, CONFIG_FILE, MODEL_FILE
from asc.runs.storage import storage_option
from asc.search.settings import SearchSettings, resume_command
from asc.search.summary import Summary


def commands(summary: Summary, settings: SearchSettings, browse: str) -> Iterator[tuple[str, str]]:
    """What to do next: pairs of a purpose and its command, most urgent first."""
    folder = summary.folder
    model, config = (shlex.quote(str(folder / BEST_FOLDER / name)) for name in (MODEL_FILE, CONFIG_FILE))
    storage, name = storage_option(folder), shlex.quote(f"{folder.name}-best")
    data = f"--data {shlex.quote(settings.data)}"
    fold = f" --fold {settings.fold}" if settings.fold != 1 else ""
    data += f" --device-irs {shlex.quote(settings.device_irs)}" if settings.device_irs else ""
    data += f" --augment-irs {shlex.quote(settings.augment_irs)}" if settings.augment_irs else ""
    groups = f" --group-from {shlex.quote(settings.group_from)}" if settings.group_from else ""
    held = f" --holdout-devices {shlex.quote(settings.holdout_devices)}" if settings.holdout_devices else ""
    data_seed = f" --data-seed {settings.data_seed}" if settings.data_seed else ""
    if summary.ending != "finished":
        yield "go on with the search", resume_command(folder)
    if summary.best is not None:
        if summary.saved is summary.best:
            yield (
                "train the best with the full schedule",
                f"{command('train')} --config {config} {data}{held}{groups}{fold}{data_seed}{storage} --name {name} "
                "--cycles 3 --epochs-per-cycle 120",
            )
        yield "measure it on the test split, once", f"{command('evaluate')} {model} {data} --split test"
        yield "label your own audio", f"{command('predict')} {model} FILE_OR_FOLDER"
        yield "export it to another runtime", f"{command('export')} {model}"
    yield "browse the trials", browse


def then_resume(problem: str, folder: Path) -> str:
    """The command that goes on with the search in this folder, after the problem that stopped it, if there is one."""
    return f"{problem + '; then ' if problem else ''}resume with: {resume_command(folder)}"
