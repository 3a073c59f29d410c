"""The command lines on the report page, quoted so that they can be pasted for any name."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from asc.config.space_file import load_space
from asc.errors import InputError
from asc.launchers import command
from asc.report.trials import Search
from asc.run_files import BEST_FOLDER, CONFIG_FILE, MODEL_FILE
from asc.runs.storage import storage_option
from asc.typed import Scalar

# Settings that belong to the place where the search ran rather than to what it did, and a default that is in journals.
_LEFT_OUT = ("address", "mlflow_uri")
_DEFAULT = ("reduction_factor", 2)
_OF_DATA = ("data", "device_irs", "augment_irs", "holdout_devices", "group_from", "fold", "data_seed")


def reproduce(search: Search) -> str:
    """The command that starts the same search again, under another name."""
    settings = search.settings.items()
    chosen = {key: value for key, value in settings if key not in _LEFT_OUT and (key, value) != _DEFAULT}
    name = shlex.quote(f"{search.name}-again")
    return f"{command('search')}{_options({'space': space_option(search), **chosen})} --name {name}"


def space_option(search: Search) -> str:
    """The shipped space of the search by name, or the file that its text must be saved as."""
    name, _, text = (search.record.started.space or "").partition("\n")
    try:
        shipped = load_space(name).text == text
    except InputError:
        shipped = False
    return name if shipped else f"{name or 'space'}.toml"


def resume(folder: Path, *, trials: int | None = None) -> str:
    """The command that goes on with a search, up to this number of trials if one is given."""
    more = "" if trials is None else f" --trials {trials}"
    return f"{command('search')} --resume {shlex.quote(folder.name)}{more}{storage_option(folder)}"


def evaluate(folder: Path) -> str:
    """The command that evaluates the best network on validation, which gives its confusion matrix."""
    return f"{command('evaluate')} {shlex.quote(str(folder / BEST_FOLDER / MODEL_FILE))}"


def rebuild(folder: Path) -> str:
    """The command that writes the report page again."""
    return f"{command('report')} {shlex.quote(folder.name)}{storage_option(folder)}"


def train(search: Search, folder: Path) -> str:
    """The command that trains the best network with the full schedule."""
    config = shlex.quote(str(folder / BEST_FOLDER / CONFIG_FILE))
    of_data = {key: search.settings[key] for key in _OF_DATA if key in search.settings}
    name = shlex.quote(f"{folder.name}-best")
    return (
        f"{command('train')} --config {config}{_options(of_data)}{storage_option(folder)} --name {name} "
        "--cycles 3 --epochs-per-cycle 120"
    )


def _options(values: Mapping[str, Scalar]) -> str:
    return "".join(_option(values))


def _option(values: Mapping[str, Scalar]) -> Iterator[str]:
    for key, value in values.items():
        text = f"{value:g}" if isinstance(value, float) else str(value)
        given = "" if value is True else f" {shlex.quote(text)}"  # a flag, which is in a journal only if it is set
        yield f" --{key.replace('_', '-')}{given}"
