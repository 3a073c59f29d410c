"""Reads search spaces from TOML files, such as those of `search_spaces/`; `space.py` says what a file holds."""

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from asc.config.architecture import family_of
from asc.config.experiment import Experiment
from asc.config.space import FAMILY, Choice, FloatRange, IntRange, Parameter, Space, contains, encoded
from asc.errors import InputError
from asc.launchers import search_spaces
from asc.typed import Scalar, Value, assign, build, typed, unknown_key

SCHEMA = 1
_TABLES = ("schema", "rule", "parameters", "families", "portfolio")


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
        space = Space(name=name, text=text, parameters=parameters, families=families, rule=rule)
        return replace(space, portfolio=_portfolio(tree.get("portfolio", []), space))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


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


def _portfolio(tables: Any, space: Space) -> tuple[dict[str, Scalar], ...]:
    """The points of the tables `[[portfolio]]`.

    Raises:
        InputError: one of them has no value for a sampled key, one for another key, or one that the space has not.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError("portfolio must hold points: begin each with a line [[portfolio]]")
    return tuple(_portfolio_point(table, f"portfolio, point {n}", space) for n, table in enumerate(tables, start=1))


def _portfolio_point(table: Mapping[str, Any], where: str, space: Space) -> dict[str, Scalar]:
    family = table.get(FAMILY)
    if space.families and family not in tuple(space.families):  # it may be a list, which has no hash
        found = "missing" if family is None else family
        raise InputError(f"{where}: {FAMILY} is {found}: give one of {', '.join(space.families)}")
    sampled = space.sampled_with(family)
    for key in table:
        if key not in sampled:
            raise InputError(f"{where}: {unknown_key(key, sampled)}")
    point = dict[str, Scalar]()
    for key, parameter in sampled.items():
        if key not in table:
            raise InputError(f"{where}: there is no {key}, which the space samples: give every sampled key a value")
        value = typed(_hint(key), table[key], f"{where}: {key}")
        if not contains(parameter, value):
            raise InputError(f"{where}: {key} is {table[key]}, which the space does not have: give one of its values")
        point[key] = encoded(value)
    return point


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
