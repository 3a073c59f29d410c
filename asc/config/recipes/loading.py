"""Recipes and config files by name or path, and the changes to them that a command line asks for."""

import tomllib
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

from asc.config.experiment import Experiment
from asc.config.space_file import is_space, text_of
from asc.errors import InputError
from asc.launchers import command
from asc.run_files import BEST_FOLDER, CONFIG_FILE
from asc.typed import Value

OfModel = Callable[[Path, bytes], Experiment | None]
"""Gives the experiment of a model file from its path and bytes, or None if it is not a model file
(`asc.model_file.model_header`)."""
OfRun = Callable[[str], Experiment | None]
"""Gives the experiment of a run or a trial by its name, or None if there is no such run (`asc.runs.named`)."""


def recipe_names() -> tuple[str, ...]:
    """The names of the shipped recipes."""
    return tuple(
        sorted(
            f.name.removesuffix(".toml")
            for f in resources.files("asc.config.recipes").iterdir()
            if f.name.endswith(".toml")
        )
    )


def load_experiment(name_or_path: str, *, of_model: OfModel | None = None, of_run: OfRun | None = None) -> Experiment:
    """The experiment of a recipe (`qat_8b`), of a TOML file, or, with these functions, of a model file or a run.

    Raises:
        InputError: it is none of these, or the file is wrong.
    """
    if name_or_path in recipe_names():
        text = (resources.files("asc.config.recipes") / f"{name_or_path}.toml").read_text("utf-8")
        return Experiment.from_toml(text, f"recipe {name_or_path}")
    path = Path(name_or_path)
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if of_run is not None and (known := of_run(name_or_path)) is not None:
            return known
        if (inside := _config_in(path)) is not None:
            raise InputError(f"{path} is a folder: give {inside}") from error
        runs = "" if of_run is None else f" nor a run ({command('runs')} lists them)"
        raise InputError(
            f"{name_or_path} is neither a file nor a recipe{runs}: "
            f"give a TOML file or one of {', '.join(recipe_names())}"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a config in TOML") from error
    if of_model is not None and (found := of_model(path, data)) is not None:
        return found
    text = text_of(data, path, "a config in TOML, such as config.toml of a run's best/, or a model file")
    if is_space(text):
        raise InputError(f"{path} is a search space, not a config: give it as --space to {command('search')}")
    return Experiment.from_toml(text, str(path))


def _config_in(folder: Path) -> Path | None:
    """The config that somebody who names a run's folder means, or its best/."""
    files = (folder / CONFIG_FILE, folder / BEST_FOLDER / CONFIG_FILE)
    return next((file for file in files if file.is_file()), None)


def experiment_from(
    *,
    recipe: str | None,
    config: str | None,
    overrides: Sequence[str],
    of_model: OfModel | None = None,
    of_run: OfRun | None = None,
) -> Experiment:
    """The experiment of command line options: a recipe (default `qat_8b`) or a file, with `KEY=VALUE` changes.

    Raises:
        InputError: both are given, or anything is wrong with them.
    """
    if recipe is not None and config is not None:
        raise InputError("give --recipe or --config, not both")
    return load_experiment(config or recipe or "qat_8b", of_model=of_model, of_run=of_run if config else None).updated(
        dict(map(parse_assignment, overrides))
    )


def parse_assignment(text: str) -> tuple[str, Value]:
    """`KEY=VALUE` of a command line, the value read as TOML (`[24, 48]`, `1e-3`), else as a bare string.

    Raises:
        InputError: no `=`.
    """
    key, equals, raw = text.partition("=")
    if not (equals and key.strip()):
        raise InputError(f"--set {text}: write KEY=VALUE, such as schedule.batch_size=16")
    try:
        return key.strip(), tomllib.loads(f"value = {raw}")["value"]
    except ValueError:
        return key.strip(), raw.strip()
