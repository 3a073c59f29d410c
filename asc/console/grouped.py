"""Puts the options of a command into groups in its help, each explanation a paragraph that wraps at any width.

A dataclass of options may name its groups in `HELP_GROUPS`: the first option of each, and its title. tyro knows no
groups but nested dataclasses, so it gets a dataclass with one inside for each group.
"""

import ast
import dataclasses
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, cast

import tyro
from tyro.constructors import PrimitiveConstructorSpec

Options = TypeVar("Options")


def grouped(options: type[Any]) -> type[Any]:
    """A dataclass for tyro with the same options, in groups; `ungrouped` turns an instance of it back."""
    groups = dict[str, list[tuple[str, Any, Any]]]()
    for title, *member in _members(options):
        groups.setdefault(title, []).append(cast(tuple[str, Any, Any], tuple(member)))
    fields = groups.pop("", [])
    for title, members in groups.items():
        group: Any = _made(title, members, "")
        hint: Any = Annotated[group, tyro.conf.arg(name=title)]
        fields.append((title.replace(" ", "_"), hint, dataclasses.field(default_factory=group)))
    return _made(options.__name__, fields, options.__doc__)


def _members(options: type[Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """For each field: the title of its group (empty before the first), its name, its type for tyro and its default."""
    title, titles, said = "", getattr(options, "HELP_GROUPS", {}), _explained(options)
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        title, hint, plain = titles.get(field.name, title), hints[field.name], _plain(hints[field.name])
        default: Any = dataclasses.field(default=field.default, default_factory=field.default_factory)
        if dataclasses.is_dataclass(plain):
            inner: Any = grouped(cast(type[Any], plain))
            hint, default = Annotated[inner, tyro.conf.arg(name="")], dataclasses.field(default_factory=inner)
        else:
            hint = _without_none(hint)
            if field.name in said:
                hint = Annotated[hint, tyro.conf.arg(help=said[field.name])]
        yield title, field.name, hint, default


def _without_none(hint: Any) -> Any:
    """The same option, but where it is one of several words or None, only the words are offered.

    None means that the option was not given. tyro would list `None` among the words, in the help and in completions.
    """
    words, *others = typing.get_args(_plain(hint)) or (None,)
    if typing.get_origin(words) is not typing.Literal or others != [type(None)]:
        return hint
    choices = typing.get_args(words)
    if not all(isinstance(choice, str) for choice in choices):
        return hint
    spec = PrimitiveConstructorSpec[Any](
        nargs=1,
        metavar=f"{{{','.join(choices)}}}",
        instance_from_str=lambda given: given[0],
        is_instance=lambda value: value is None or value in choices,
        str_from_instance=lambda value: [str(value)],
        choices=choices,
    )
    return Annotated[hint, spec]


def _plain(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _made(name: str, fields: list[tuple[str, Any, Any]], doc: str | None) -> type[Any]:
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    made.__doc__ = doc
    return made


def _explained(options: type[Any]) -> dict[str, str]:
    """The docstring of each field, on one line."""
    said = {}
    for base in options.__mro__[-2::-1]:  # without `object`
        (made,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for field, after in itertools.pairwise(cast(ast.ClassDef, made).body):
            match field, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    said[name] = " ".join(text.split())
    return said


def ungrouped(options: type[Options], parsed: Any) -> Options:
    """The options that were parsed into an instance of `grouped(options)`."""
    values = {}
    for title, name, *_ in _members(options):
        home = getattr(parsed, title.replace(" ", "_")) if title else parsed
        plain: Any = _plain(typing.get_type_hints(options)[name])
        value = getattr(home, name)
        values[name] = ungrouped(cast(type[Any], plain), value) if dataclasses.is_dataclass(plain) else value
    return options(**values)
