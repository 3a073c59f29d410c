"""Strict conversion between plain trees (parsed TOML or JSON) and typed dataclasses: an unknown key is an error.

A dotted key names a place in such a tree and reaches into tuples by index: `architecture.widths.1`.
"""

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from asc.errors import InputError

Scalar = int | float | str | bool
Value = Scalar | tuple[Scalar, ...] | list[Scalar]
T = TypeVar("T")

_FEW_KEYS = 8  # are all named in an error
_NAMES: Mapping[Any, str] = types.MappingProxyType(
    {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}
)


def build(cls: type[T], tree: Mapping[str, Any], prefix: str = "") -> T:
    """An instance of the dataclass `cls` from a plain tree; missing keys take their defaults.

    Raises:
        InputError: a key is unknown, a key without a default is missing, or a value has the wrong type; the message
            names the key with `prefix` before it.
    """
    hints = _hints(cls)  # type: ignore[arg-type]  # mypy does not see that a class is hashable
    for key in tree:
        if key not in hints:
            raise InputError(unknown_key(f"{prefix}{key}", [f"{prefix}{hint}" for hint in hints]))
    values = {key: typed(hints[key], value, f"{prefix}{key}") for key, value in tree.items()}
    try:
        return cls(**values)
    except TypeError as error:
        required = [f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING]  # type: ignore[arg-type]
        missing = [f"{prefix}{name}" for name in required if name not in values]
        if not missing:
            raise
        raise InputError(f"missing key {', '.join(missing)}") from error


def rebuilt(instance: T, tables: Mapping[str, Any]) -> T:
    """A copy of a dataclass whose fields of these names are built anew, as by `build`.

    Raises:
        InputError: as `build`.
    """
    cls: Any = type(instance)
    hints = _hints(cls)
    values = {name: typed(hints[name], table, name) for name, table in tables.items()}
    return dataclasses.replace(instance, **values)  # type: ignore[type-var]


def plain(instance: Any) -> dict[str, Any]:
    """The nested tables of a dataclass whose values are scalars, tuples of these, or such dataclasses.

    It equals `dataclasses.asdict`, but does not copy each value.
    """
    cls: Any = type(instance)
    values = ((name, getattr(instance, name)) for name in _hints(cls))
    return {name: plain(value) if dataclasses.is_dataclass(value) else value for name, value in values}


def typed(hint: Any, value: Any, key: str) -> Any:
    """Convert `value` to the type `hint`: lists become tuples, integers become floats, tables become dataclasses.

    Raises:
        InputError: the value does not fit the type, or is not finite; the message names `key`.
    """
    if type(value) is hint and hint in (int, str, bool):  # most values, and fastest so
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, _of_kind(Mapping, value, key, "a table"), f"{key}.")
    if origin is tuple:
        items = _of_kind(list | tuple, value, key, "a list")
        return tuple(typed(arguments[0], item, f"{key}.{index}") for index, item in enumerate(items))
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{key} must be one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _typed_union(arguments, value, key)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        table = _of_kind(Mapping, value, key, "a table")
        return {name: typed(arguments[1], item, f"{key}.{name}") for name, item in table.items()}
    if type(value) is not hint and not (hint is float and type(value) is int):
        raise InputError(f"{key} must be {_NAMES[hint]}, got {value!r}")
    return _finite(value, key) if hint is float else value


def widen(instance: Any) -> None:
    """Turn integers in float fields (or tuples of floats) of a new, frozen dataclass into floats, in place.

    1 and 1.0 are equal, but are written differently and so would give different fingerprints.
    """
    cls: Any = type(instance)
    for name, hint in _hints(cls).items():
        value = getattr(instance, name)
        if hint is float and type(value) is int:
            object.__setattr__(instance, name, float(value))
        elif hint == tuple[float, ...]:
            object.__setattr__(instance, name, tuple(float(item) if type(item) is int else item for item in value))


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed_union(arguments: tuple[Any, ...], value: Any, key: str) -> Any:
    """A scalar of one of the union's types is kept; anything else is converted to its table, list or float type."""
    if type(value) in arguments:
        return _finite(value, key) if type(value) is float else value
    wider = next((a for a in arguments if a is float or a not in _NAMES), None)
    if wider is None or value is None:
        raise InputError(f"{key} must be {' or '.join(_NAMES.get(a, str(a)) for a in arguments)}, got {value!r}")
    return typed(wider, value, key)


def _finite(value: float, key: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{key} must be a finite number, got {number}")
    return number


def _of_kind(kind: Any, value: Any, key: str, name: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{key} must be {name}, got {value!r}")
    return value


def leaves(node: Any, prefix: str = "") -> list[tuple[str, Scalar]]:
    """Every scalar of a tree with its dotted key, in order."""
    if isinstance(node, Mapping):
        return [leaf for key, child in node.items() for leaf in leaves(child, f"{prefix}.{key}".lstrip("."))]
    if isinstance(node, list | tuple):
        return [leaf for index, child in enumerate(node) for leaf in leaves(child, f"{prefix}.{index}")]
    return [(prefix, node)]


def nested(flat: Mapping[str, Scalar]) -> dict[str, Any]:
    """The inverse of `leaves`: parts of a key become tables, and numeric parts become lists.

    Raises:
        InputError: a key lies inside another key's value, or a list has a gap.
    """
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise InputError(f"{key}: {part} is already a value, so it cannot contain other keys")
        if last in node:
            raise InputError(f"{key} already contains other keys, so it cannot be a value")
        node[last] = value
    return {key: _listed(child, key) for key, child in tree.items()}


def _listed(node: Any, key: str) -> Any:
    if not isinstance(node, dict):
        return node
    if not all(part.isdecimal() for part in node):
        return {part: _listed(child, f"{key}.{part}") for part, child in node.items()}
    if set(node) != {str(index) for index in range(len(node))}:
        raise InputError(f"{key} has the elements {', '.join(node)}: number them from 0 without gaps")
    return [_listed(node[str(index)], f"{key}.{index}") for index in range(len(node))]


def assign(tree: dict[str, Any], key: str, value: Value) -> None:
    """Set the value at a dotted key of a tree of dicts and tuples, in place.

    Raises:
        InputError: the tree has no such key, or the key names a whole table; the message names the nearest keys.
    """
    *parents, last = key.split(".")
    node: Any = tree
    for part in parents:
        child = node.get(part) if isinstance(node, dict) else None
        if isinstance(child, tuple):
            child = node[part] = list(child)
        node = child
    if isinstance(node, list) and last.isdecimal() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict) and last in node and not isinstance(node[last], dict):
        node[last] = value
    else:
        scalars = [leaf for leaf, _ in leaves(tree)]
        raise InputError(unknown_key(key, [*scalars, *(k.rsplit(".", 1)[0] for k in scalars if k[-1].isdigit())]))


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message for an unknown key: the nearest keys, or all keys if none is near and they are few."""
    keys = list(dict.fromkeys(known))
    if near := difflib.get_close_matches(key, keys, n=3, cutoff=0.6):
        return f"unknown key {key}: did you mean {' or '.join(near)}?"
    if len(keys) <= _FEW_KEYS:
        return f"unknown key {key}: the keys are {', '.join(keys)}"
    nearest = difflib.get_close_matches(key, keys, n=3, cutoff=0.0)
    return f"unknown key {key}: the nearest of {len(keys)} keys are {', '.join(nearest)}"
