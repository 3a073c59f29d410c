"""The keywords of `asc.search`, `asc.train` and `asc.evaluate`: the options of the launch scripts, with underscores."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, cast

from asc.console.evaluate_options import EvaluateOptions
from asc.console.train_options import TrainOptions
from asc.errors import InputError
from asc.results import CalibrationMethod, RankBy
from asc.search.options import SearchOptions
from asc.search.settings import Asha
from asc.typed import Value, typed, unknown_key

Options = TypeVar("Options")
_OF_SCRIPTS = ("json", "dry_run", "quiet", "verbose")
"""Options that only a command line has, or (quiet) that each function has."""


class SearchKeywords(TypedDict, total=False):
    """The keywords of `asc.search`; `python launch/search.py --help` explains each."""

    budget_kb: float | str
    rule: str
    max_mmacs_per_s: float
    max_ram_kb: float
    space: str | Path
    recipe: str | Path
    data: str | Path
    fold: int
    data_seed: int
    device_irs: str | Path
    augment_irs: str | Path
    holdout_devices: str
    group_from: str
    calibrate: CalibrationMethod
    trials: int
    warm_start: str
    portfolio: int
    objectives: str
    asha: Asha
    reduction_factor: int
    rank_by: RankBy
    final_top: int
    final_seeds: int
    final_cycles: int
    final_epochs: int
    distil: bool
    teacher_kb: float
    teacher_logits: str | Path
    time_budget_min: float
    cycles: int
    epochs_per_cycle: int
    cycle_growth: int
    max_concurrent: int
    workers_per_trial: int
    cpus_per_trial: int
    gpus_per_trial: float
    address: str
    seed: int
    name: str
    resume: str
    storage: str | Path
    cache: str | Path
    mlflow_uri: str


class TrainKeywords(TypedDict, total=False):
    """The keywords of `asc.train`; `python launch/train.py --help` explains each. `overrides` is `--set`, as a dict."""

    recipe: str
    config: str | Path
    overrides: Mapping[str, Value]
    data: str | Path
    fold: int
    data_seed: int
    device_irs: str | Path
    augment_irs: str | Path
    holdout_devices: str
    group_from: str
    split: Literal["development", "all"]
    cycles: int
    epochs_per_cycle: int
    cycle_growth: int
    batch_size: int
    seed: int
    calibrate_on_test: bool
    teacher_logits: str | Path
    name: str
    resume: str
    storage: str | Path
    cache: str | Path
    mlflow_uri: str


class EvaluateKeywords(TypedDict, total=False):
    """The keywords of `asc.evaluate` after the model; `python launch/evaluate.py --help` explains each."""

    data: str | Path
    split: Literal["valid", "calibration", "confirmation", "test"]
    device_irs: str | Path
    group_from: str
    output: str | Path
    cache: str | Path


def search_options(keywords: SearchKeywords) -> SearchOptions:
    """The options of launch/search.py that these keywords mean.

    Raises:
        InputError: a keyword is unknown, or its value has the wrong type.
    """
    return _options(SearchOptions, keywords)


def train_options(keywords: TrainKeywords) -> TrainOptions:
    """The options of launch/train.py that these keywords mean. Raises as `search_options`."""
    given: dict[str, Any] = dict(keywords)
    if "overrides" in given:
        given["overrides"] = assignments(given["overrides"])
    return _options(TrainOptions, given)


def evaluate_options(model: str | Path, keywords: EvaluateKeywords) -> EvaluateOptions:
    """The options of launch/evaluate.py that these keywords mean. Raises as `search_options`."""
    return _options(EvaluateOptions, {**keywords, "model": model})


def assignments(changes: Mapping[str, Value]) -> tuple[str, ...]:
    """Changes of a config as `--set` takes them.

    Raises:
        InputError: they are not a dict, or a config cannot hold one of the values.
    """
    if not isinstance(changes, Mapping):
        raise InputError(f"overrides must be a dict, as {{'schedule.batch_size': 16}}, got {changes!r}")
    return tuple(f"{key}={_json(key, value)}" for key, value in changes.items())


def _json(key: str, value: Value) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:
        raise InputError(
            f"overrides: {key} must be a number, a text, true or false, or a list of these, got {value!r}"
        ) from error


def names(cls: type[Any]) -> list[str]:
    """The keywords for the options of a script, those of the dataclasses within them included."""
    hints = _hints(cls)
    inner = [names(cast(type[Any], hint)) if dataclasses.is_dataclass(hint) else [name] for name, hint in hints.items()]
    return [name for each in inner for name in each if name not in _OF_SCRIPTS]


def _hints(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _options(cls: type[Options], keywords: Mapping[str, Any]) -> Options:
    """An instance of a dataclass of options; a keyword that is None is left out."""
    given = {key: value for key, value in keywords.items() if value is not None}
    for key in given:
        if key not in names(cls):
            raise InputError(unknown_key(key, names(cls)))
    return _built(cls, given)


def _built(cls: type[Options], given: Mapping[str, Any]) -> Options:
    values: dict[str, Any] = {}
    for name, hint in _hints(cls).items():
        if dataclasses.is_dataclass(hint):
            values[name] = _built(cast(type[Any], hint), given)
        elif name in given:
            is_path = Path in (hint, *typing.get_args(hint))
            values[name] = a_path(name, given[name]) if is_path else typed(hint, _text(given[name]), name)
    return cls(**values)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def a_path(name: str, value: object) -> Path:
    """The argument `name` as a path.

    Raises:
        InputError: it is neither a text nor a path.
    """
    if not isinstance(value, str | Path):
        raise InputError(f"{name} must be a path, got {value!r}")
    return Path(value)
