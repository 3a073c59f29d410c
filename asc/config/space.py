"""A search space: ranges and choices over dotted config keys, read from `search_spaces/*.toml`, and nothing else.

    schema = 1
    [parameters]
    "architecture.widths.0" = { low = 4, high = 48, step = 4 }
    "schedule.learning_rate_max" = { low = 5e-4, high = 1e-2, log = true }
    "architecture.time_strides" = { choices = [[2, 2, 1, 2, 1, 1], [2, 2, 1, 1, 1, 1]] }
    "augment.crop_s" = { choices = [1.0] }

A choice of one is a setting of the whole search: it holds for the reference (trial 0) too and is not sampled.
"""

import json
import math
import random
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.launchers import search_spaces
from asc.typed import Scalar, Value, assign, build, typed, unknown_key

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange:
    """Whole numbers low, low + step, ... up to high (included where a step lands on it)."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRange:
    """Numbers within low and high, uniform, or uniform in the logarithm."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of these values, without order."""

    options: tuple[Value, ...]


Parameter = IntRange | FloatRange | Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Parameters by dotted key. A point gives every sampled key a scalar; `values` turns it into config values."""

    name: str
    text: str
    parameters: Mapping[str, Parameter]

    @property
    def settings(self) -> dict[str, Value]:
        """The choices of one: what every trial has in common."""
        return {k: p.options[0] for k, p in self.parameters.items() if isinstance(p, Choice) and len(p.options) == 1}

    @property
    def sampled(self) -> dict[str, Parameter]:
        """The parameters that a sampler chooses."""
        return {key: p for key, p in self.parameters.items() if key not in self.settings}

    def values(self, point: Mapping[str, Scalar]) -> dict[str, Value]:
        """The config values of a point: choices of lists are JSON text in a point, for samplers know scalars only."""
        return {key: _decoded(self.sampled[key], value) for key, value in point.items()}

    def point_of(self, experiment: Experiment) -> dict[str, Scalar] | None:
        """The point that an experiment is at, or None where one of its values lies outside the space."""
        tree, point = asdict(experiment), {}
        for key, parameter in self.sampled.items():
            try:
                value = _at(tree, key)
            except IndexError:  # a network of fewer stages or blocks than the space speaks of
                return None
            if not _contains(parameter, value):
                return None
            point[key] = encoded(value) if isinstance(parameter, Choice) else value
        return point

    def sample(self, rng: random.Random) -> dict[str, Scalar]:
        """A point drawn uniformly (log-uniformly where the range says so)."""
        return {key: _drawn(parameter, rng) for key, parameter in self.sampled.items()}


def encoded(value: Value) -> Scalar:
    """A choice's value as a scalar: lists become JSON text."""
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def load_space(name_or_path: str) -> Space:
    """The space of a shipped file (`quick`, `idlab128`) or of a path.

    Raises:
        InputError: no such space or file, not TOML, an unknown key, a value of the wrong type, an empty range.
    """
    shipped = search_spaces()
    names = sorted(p.stem for p in shipped.glob("*.toml"))
    path = shipped / f"{name_or_path}.toml" if name_or_path in names else Path(name_or_path)
    try:
        text = text_of(path.read_bytes(), path, "a search space in TOML")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(
            f"--space {name_or_path} is neither a file nor a shipped space: "
            f"give a TOML file or one of {', '.join(names)}"
        ) from error
    except OSError as error:
        raise InputError(f"--space {path} cannot be read ({error.strerror}): give a TOML file") from error
    if is_config(text):
        raise InputError(f"--space {path} is the config of one network, not a search space: give it as --recipe")
    return parse_space(text, source=str(path), name=path.stem)


def text_of(data: bytes, path: Path, wanted: str) -> str:
    """The text of a file.

    Raises:
        InputError: it is not text; the sentence asks for `wanted`.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: give {wanted}") from error
    if "\0" in text:
        raise InputError(f"{path} is not a text file: give {wanted}")
    return text


def is_space(text: str) -> bool:
    """Whether a text is a search space, right or wrong, and not something else in TOML."""
    return "parameters" in _keys(text)


def is_config(text: str) -> bool:
    """Whether a text is a config, right or wrong, and not something else in TOML."""
    return bool(_keys(text) & {"architecture", "front_end", "schedule", "compression", "augment"})


def _keys(text: str) -> set[str]:
    try:
        return set(tomllib.loads(text))
    except ValueError:
        return set()


def parse_space(text: str, *, source: str, name: str) -> Space:
    """The space of a TOML text; `source` names the file in errors, which are those of `load_space`."""
    try:
        tree = tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{source} is not valid TOML: {error}") from error
    try:
        for key in tree:
            if key not in ("schema", "parameters"):
                raise InputError(unknown_key(key, ["schema", "parameters"]))
        if tree.get("schema") != SCHEMA:
            raise InputError(
                f"schema is {tree.get('schema')!r}, but this asc reads schema {SCHEMA}: set `schema = {SCHEMA}`"
            )
        tables = tree.get("parameters")
        if not isinstance(tables, dict) or not tables:
            raise InputError('it has no [parameters]: add a line such as "augment.crop_s" = { choices = [1.0, 3.0] }')
        parameters = {key: _parameter(key, table) for key, table in tables.items()}
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return Space(name=name, text=text, parameters=parameters)


def _parameter(key: str, table: Any) -> Parameter:
    if not isinstance(table, dict):
        raise InputError(f"{key} must be a table such as {{ low = 4, high = 48, step = 4 }} or {{ choices = [2, 4] }}")
    if "choices" in table:
        return _choice(key, table)
    hint = _hint(key)
    if hint is int:
        ints = build(IntRange, table, f"{key}: ")
        if not (ints.low <= ints.high and ints.step >= 1):
            raise InputError(f"{key}: the range {ints.low} to {ints.high} by {ints.step} is empty")
        return ints
    if hint is float:
        floats = build(FloatRange, table, f"{key}: ")
        if not floats.low <= floats.high or (floats.log and floats.low <= 0):
            raise InputError(f"{key}: the range {floats.low} to {floats.high} is empty, or logarithmic and not above 0")
        return floats
    raise InputError(f"{key} is no number: give it as {{ choices = [...] }}")


def _choice(key: str, table: Mapping[str, Any]) -> Choice:
    for name in table:
        if name != "choices":
            raise InputError(unknown_key(f"{key}: {name}", [f"{key}: choices"]))
    options = table["choices"]
    if not isinstance(options, list) or not options:
        raise InputError(f"{key}: choices must be a list of at least one value")
    hint = _hint(key)
    return Choice(options=tuple(typed(hint, option, f"{key}: choices") for option in options))


def _hint(key: str) -> Any:
    """The type of the config value at a dotted key."""
    assign(asdict(Experiment()), key, 0)
    hint: Any = Experiment
    for part in key.split("."):
        hint = typing.get_args(hint)[0] if part.isdigit() else typing.get_type_hints(hint)[part]
    return hint


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[int(part)] if part.isdigit() else tree[part]
    return tree


def _contains(parameter: Parameter, value: Any) -> bool:
    match parameter:
        case IntRange():
            return value in range(parameter.low, parameter.high + 1, parameter.step)
        case FloatRange():
            return bool(parameter.low <= value <= parameter.high)
        case Choice():
            return value in parameter.options


def _decoded(parameter: Parameter, value: Scalar) -> Value:
    if isinstance(parameter, Choice) and isinstance(parameter.options[0], tuple):
        return tuple(json.loads(str(value)))
    return value


def _drawn(parameter: Parameter, rng: random.Random) -> Scalar:
    match parameter:
        case IntRange():
            return rng.randrange(parameter.low, parameter.high + 1, parameter.step)
        case FloatRange(log=True):
            drawn = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
            return min(max(drawn, parameter.low), parameter.high)  # exp(log(x)) may miss x by a rounding
        case FloatRange():
            return rng.uniform(parameter.low, parameter.high)
        case Choice():
            return encoded(rng.choice(parameter.options))
