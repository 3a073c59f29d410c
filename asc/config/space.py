"""A search space: ranges and choices for dotted config keys, read from a TOML file such as `search_spaces/*.toml`.

    schema = 1
    [parameters]
    "architecture.widths.0" = { low = 4, high = 48, step = 4 }
    "schedule.learning_rate_max" = { low = 5e-4, high = 1e-2, log = true }
    "architecture.time_strides" = { choices = [[2, 2, 1, 2, 1, 1], [2, 2, 1, 1, 1, 1]] }
    "augment.crop_s" = { choices = [1.0] }

A list of one choice is a setting of the whole search: it is not sampled, and the reference (trial 0) has it too.

The depths of stages may be drawn stage by stage (`architecture.depths.0`). Strides are then listed for the blocks of
the reference: a shallower stage takes its first ones, and blocks beyond the list have stride 1 (`resnet_se.fitted`).

A space of several families of networks lists them as choices of `architecture.family`, and has a table for each:

    [families.cp_mobile]
    "architecture.cp_mobile.base_channels" = { low = 8, high = 64, step = 8 }

The keys of a family are sampled only for points of that family.

A space that is made for one accounting rule names it: `rule = "dcase2025"`. A search then counts by it unless told
otherwise.
"""

import json
import math
import random
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from asc.config.architecture import family_of
from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.launchers import search_spaces
from asc.typed import Scalar, Value, assign, build, typed, unknown_key

SCHEMA = 1
FAMILY = "architecture.family"
_TABLES = ("schema", "rule", "parameters", "families")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange:
    """Integers low, low + step, ... up to and including high, if a step lands on it."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRange:
    """Numbers from low to high, drawn uniformly or, with `log`, log-uniformly."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of these values; their order means nothing."""

    options: tuple[Value, ...]


Parameter = IntRange | FloatRange | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """Parameters by dotted key. A point holds one scalar per sampled key; `values` turns it into config values.

    `rule` is the accounting rule that the space is made for, or None.
    """

    name: str
    text: str
    parameters: Mapping[str, Parameter]
    families: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)
    rule: str | None = None

    @cached_property
    def settings(self) -> dict[str, Value]:
        """The parameters with a single choice, which every trial shares."""
        return {k: p.options[0] for k, p in self.parameters.items() if isinstance(p, Choice) and len(p.options) == 1}

    @cached_property
    def sampled(self) -> dict[str, Parameter]:
        """The parameters that a sampler chooses values for, those of all families included."""
        found = {key: p for key, p in self.parameters.items() if key not in self.settings}
        for family in self.families:
            found |= self.of_family(family).sampled
        return found

    def each(self) -> "list[Space]":
        """This space, or if it has several families the space of each."""
        return [self.of_family(family) for family in self.families] or [self]

    def of_family(self, family: str) -> "Space":
        """The space of one family: what all families share, and its own keys; `architecture.family` is a setting."""
        return self._by_family[family]

    @cached_property
    def _by_family(self) -> dict[str, "Space"]:
        found = {}
        for family, own in self.families.items():
            parameters = {**self.parameters, **own, FAMILY: Choice(options=(family,))}
            found[family] = Space(name=self.name, text=self.text, parameters=parameters)
        return found

    def values(self, point: Mapping[str, Scalar]) -> dict[str, Value]:
        """The config values of a point, in which lists are JSON text because samplers handle scalars only.

        With them come the settings of the point's family. Those of all families are in the reference, where options of
        the command line may have changed them.
        """
        if not self.families:
            return {key: _decoded(self.sampled[key], value) for key, value in point.items()}
        if FAMILY not in point:  # the reference
            return {}
        family = str(point[FAMILY])
        space, own = self.of_family(family), {*self.families[family], FAMILY}
        settings = {key: value for key, value in space.settings.items() if key in own}
        return {**settings, **space.values({key: v for key, v in point.items() if key in space.sampled})}

    def point_of(self, experiment: Experiment, drawn: Mapping[str, Scalar] | None = None) -> dict[str, Scalar] | None:
        """The point of an experiment, or None if one of its values lies outside the space.

        If the experiment was repaired, give the point that was `drawn` for it, in this space or another one: its values
        count where they lie in the space, because repair does not keep to the steps of a range.
        """
        found = self._places(experiment, drawn or {})
        return None if None in found.values() else {key: value for key, value in found.items() if value is not None}

    def outside(self, experiment: Experiment, drawn: Mapping[str, Scalar] | None = None) -> list[str]:
        """The keys whose values keep an experiment from being a point of this space (see `point_of`)."""
        return [key for key, value in self._places(experiment, drawn or {}).items() if value is None]

    def _places(self, experiment: Experiment, drawn: Mapping[str, Scalar]) -> dict[str, Scalar | None]:
        """The value of each key in a point of the space; None where the experiment lies outside."""
        if self.families:
            family = experiment.architecture.family
            if family not in self.families:
                return {FAMILY: None}
            return {FAMILY: family, **self.of_family(family)._places(experiment, drawn)}
        tree = asdict(experiment)
        return {key: _place(key, parameter, tree, drawn) for key, parameter in self.sampled.items()}

    def sample(self, rng: random.Random) -> dict[str, Scalar]:
        """A random point: uniform, or log-uniform for ranges with `log`; of several families each is as likely."""
        if self.families:
            family = str(_drawn(self.parameters[FAMILY], rng))
            return {FAMILY: family, **self.of_family(family).sample(rng)}
        return {key: _drawn(parameter, rng) for key, parameter in self.sampled.items()}


def encoded(value: Value) -> Scalar:
    """A choice's value as a scalar: lists become JSON text."""
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def load_space(name_or_path: str) -> Space:
    """Load a shipped space by name (`quick`, `idlab128`, `grown128`, ...) or any space by path.

    Raises:
        InputError: no such space or file, not TOML, an unknown key, a value of the wrong type, or an empty range.
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
    """Decode the bytes of a text file; `wanted` says in the error what to give instead.

    Raises:
        InputError: the file is not UTF-8 text.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: give {wanted}") from error
    if "\0" in text:
        raise InputError(f"{path} is not a text file: give {wanted}")
    return text


def is_space(text: str) -> bool:
    """Whether a TOML text is meant as a search space, valid or not."""
    return "parameters" in _keys(text)


def is_config(text: str) -> bool:
    """Whether a TOML text is meant as a config, valid or not."""
    return bool(_keys(text) & {"architecture", "front_end", "schedule", "compression", "augment"})


def _keys(text: str) -> set[str]:
    try:
        return set(tomllib.loads(text))
    except ValueError:
        return set()


def parse_space(text: str, *, source: str, name: str) -> Space:
    """Parse a TOML text as a space; `source` names the file in errors.

    Raises:
        InputError: as `load_space`.
    """
    try:
        tree = tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{source} is not valid TOML: {error}") from error
    try:
        for key in tree:
            if key not in _TABLES:
                raise InputError(unknown_key(key, _TABLES))
        if tree.get("schema") != SCHEMA:
            raise InputError(
                f"schema is {tree.get('schema')!r}, but this asc reads schema {SCHEMA}: set `schema = {SCHEMA}`"
            )
        rule = tree.get("rule")
        if not isinstance(rule, str | None):
            raise InputError(f'rule is {rule!r}: write the name of an accounting rule, such as "dcase2025"')
        tables = tree.get("parameters")
        if not isinstance(tables, dict) or not tables:
            raise InputError(
                'there is no [parameters] table: add one with lines such as "augment.crop_s" = { choices = [1.0, 3.0] }'
            )
        parameters = {key: _parameter(key, table) for key, table in tables.items()}
        families = _families(tree.get("families", {}), parameters)
        _check_families(parameters, families)
        if len(families) == 1:
            parameters, families = {**parameters, **next(iter(families.values()))}, {}
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return Space(name=name, text=text, parameters=parameters, families=families, rule=rule)


def _families(tables: Any, parameters: Mapping[str, Parameter]) -> dict[str, dict[str, Parameter]]:
    """The keys of each family, from the tables `[families.NAME]`.

    Raises:
        InputError: the tables do not match the choices of `architecture.family`, or a key stands twice.
    """
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise InputError("families must hold a table for each family, such as [families.cp_mobile]")
    drawn = parameters.get(FAMILY)
    options = drawn.options if isinstance(drawn, Choice) else ()
    if tables and set(tables) != set(options):
        raise InputError(
            f"there are tables for the families {', '.join(tables)}, but the choices of {FAMILY} are "
            f"{', '.join(map(str, options)) or 'missing'}: give one table for each choice"
        )
    if len(options) > 1 and not tables:
        raise InputError(f"{FAMILY} has several choices: give a table [families.NAME] for each of them")
    for family, table in tables.items():
        for key in table:
            if key in parameters:
                raise InputError(f"{key} is in [parameters] and in [families.{family}]: keep one of them")
    return {family: {key: _parameter(key, one) for key, one in table.items()} for family, table in tables.items()}


def _check_families(parameters: Mapping[str, Parameter], families: Mapping[str, Mapping[str, Parameter]]) -> None:
    """Check that no key belongs to a family that is not drawn with it.

    Raises:
        InputError: a key of another family, or keys of two families without a table for each.
    """
    for family, table in families.items():
        for key in table:
            if family_of(key) not in (None, family):
                raise _not_of(key, family)
    given = parameters.get(FAMILY)
    owned = {key: owner for key in parameters if (owner := family_of(key)) is not None}
    for key, owner in owned.items():
        if families:
            raise InputError(f"{key} is a key of the family {owner} alone: move it to [families.{owner}]")
        if isinstance(given, Choice) and owner != given.options[0]:
            raise _not_of(key, given.options[0])
    if len(owners := sorted(set(owned.values()))) > 1:
        raise InputError(
            f"there are keys of the families {' and '.join(owners)}: list both as choices of {FAMILY}, and give each a "
            "table [families.NAME]"
        )


def _not_of(key: str, family: Value) -> InputError:
    return InputError(f"{key} is a key of the family {family_of(key)}, not of {family}: move it or leave it out")


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
            raise InputError(
                f"{key}: the range {floats.low} to {floats.high} is not valid: high must not be below low, "
                "and low must be above 0 if log = true"
            )
        return floats
    raise InputError(f"{key} is not a number: list its values as {{ choices = [...] }}")


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


def _place(key: str, parameter: Parameter, tree: Mapping[str, Any], drawn: Mapping[str, Scalar]) -> Scalar | None:
    """The value of a key in a point: the drawn one, else that of a config's tree; None if neither is in the range."""
    if key in drawn and _contains(parameter, _decoded(parameter, drawn[key])):
        return drawn[key]
    try:
        value = _at(tree, key)
    except IndexError:  # the network has fewer stages or blocks than the space names
        return None
    if not _contains(parameter, value):
        return None
    return encoded(value) if isinstance(parameter, Choice) else value


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
            return min(max(drawn, parameter.low), parameter.high)  # rounding may put exp(log(x)) outside
        case FloatRange():
            return rng.uniform(parameter.low, parameter.high)
        case Choice():
            return encoded(rng.choice(parameter.options))
