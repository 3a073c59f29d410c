import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc.errors import InputError
from asc.typed import assign, build, leaves, nested, typed, unknown_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    number: int = 3
    shares: tuple[float, ...] = (0.5,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    mode: Literal["slow", "fast"] = "slow"
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    more: Mapping[str, int | float | str | bool] | None = None
    figure: float | None = None
    rows: tuple[Inner, ...] = ()


def test_a_tree_is_built_into_nested_dataclasses() -> None:
    tree = {
        "name": "n",
        "mode": "fast",
        "flag": True,
        "inner": {"number": 4, "shares": [1, 0.25]},
        "more": {"a": 1, "b": "x", "c": True, "d": 0.5},
        "figure": 2,
        "rows": [{"number": 9}],
    }
    built = build(Outer, tree)
    assert built == Outer(
        name="n",
        mode="fast",
        flag=True,
        inner=Inner(number=4, shares=(1.0, 0.25)),
        more={"a": 1, "b": "x", "c": True, "d": 0.5},
        figure=2.0,
        rows=(Inner(number=9),),
    )
    assert all(type(share) is float for share in built.inner.shares) and type(built.figure) is float
    assert built.more is not None and type(built.more["a"]) is int and type(built.more["c"]) is bool


def test_missing_keys_take_their_defaults_and_none_is_kept() -> None:
    assert build(Outer, {"name": "n"}) == Outer(name="n")
    assert build(Outer, {"name": "n", "more": None, "figure": None}) == Outer(name="n")


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({}, "missing key name"),
        ({"name": 3}, "name must be a text, got 3"),
        ({"name": None}, "name must be a text, got None"),
        ({"name": "n", "mode": "quick"}, "mode must be one of slow, fast, got 'quick'"),
        ({"name": "n", "mode": ["slow"]}, "mode must be one of slow, fast, got ['slow']"),
        ({"name": "n", "flag": 1}, "flag must be true or false, got 1"),
        ({"name": "n", "inner": 1}, "inner must be a table, got 1"),
        ({"name": "n", "inner": {"number": 1.0}}, "inner.number must be a whole number, got 1.0"),
        ({"name": "n", "inner": {"number": True}}, "inner.number must be a whole number, got True"),
        ({"name": "n", "inner": {"shares": 1.0}}, "inner.shares must be a list, got 1.0"),
        ({"name": "n", "inner": {"shares": "ab"}}, "inner.shares must be a list, got 'ab'"),
        ({"name": "n", "inner": {"shares": [1.0, "x"]}}, "inner.shares.1 must be a number, got 'x'"),
        ({"name": "n", "inner": {"shares": [True]}}, "inner.shares.0 must be a number, got True"),
        ({"name": "n", "inner": {"shares": [math.nan]}}, "inner.shares.0 must be a finite number, got nan"),
        ({"name": "n", "inner": {"shares": [10**400]}}, "inner.shares.0 must be a finite number, got inf"),
        ({"name": "n", "figure": "x"}, "figure must be a number, got 'x'"),
        ({"name": "n", "figure": math.inf}, "figure must be a finite number, got inf"),
        ({"name": "n", "more": 5}, "more must be a table, got 5"),
        ({"name": "n", "more": {"a": [1]}}, "more.a must be"),
        ({"name": "n", "more": {"a": math.nan}}, "more.a must be a finite number, got nan"),
        ({"name": "n", "rows": [{"numbr": 1}]}, "unknown key rows.0.numbr: did you mean rows.0.number"),
        ({"name": "n", "inner": {"numbr": 1}}, "unknown key inner.numbr: did you mean inner.number"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(tree: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        build(Outer, tree)
    assert str(caught.value).startswith(sentence)


def test_a_type_error_in_the_class_is_not_taken_for_a_missing_key() -> None:
    @dataclass(frozen=True)
    class Broken:
        number: int = 1

        def __post_init__(self) -> None:
            raise TypeError("a fault of ours")

    with pytest.raises(TypeError, match="a fault of ours"):
        build(Broken, {})


def test_integers_become_floats_for_float_fields() -> None:
    assert type(typed(float, 2, "key")) is float


SCALARS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text(max_size=5))
NAMES = st.from_regex(r"[a-z_]{1,4}", fullmatch=True)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3) | st.lists(inner, min_size=1, max_size=11),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_leaves_and_nested_are_inverse(tree: dict[str, Any]) -> None:
    flat = dict(leaves(tree))
    assert nested(flat) == tree
    assert nested(dict(sorted(flat.items()))) == tree, "the order of the keys must not matter"


@pytest.mark.parametrize(
    ("flat", "sentence"),
    [
        ({"a": 1, "a.b": 2}, "a.b: a is already a value"),
        ({"a.b": 1, "a": 2}, "a already contains other keys"),
        ({"a.0": 1, "a.2": 2}, "a has the elements 0, 2"),
    ],
)
def test_contradictory_flat_keys_are_refused(flat: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        nested(flat)


def test_assign_sets_elements_of_tuples_and_whole_tuples() -> None:
    tree: dict[str, Any] = {"a": {"b": (1, 2, 3), "c": 4}}
    assign(tree, "a.b.1", 7)
    assign(tree, "a.c", 5)
    assert tree == {"a": {"b": [1, 7, 3], "c": 5}}
    assign(tree, "a.b", (9,))
    assert tree == {"a": {"b": (9,), "c": 5}}


@pytest.mark.parametrize("key", ["a", "a.x", "a.b.3", "a.b.-1", "a.b.x", "a.b.²", "a.c.0", "x.y.z", "", "a.", ".a"])
def test_assign_refuses_missing_keys(key: str) -> None:
    tree = {"a": {"b": (1, 2, 3), "c": 4}}
    with pytest.raises(InputError, match="unknown key"):
        assign(tree, key, 1)


def test_an_unknown_key_suggests_the_nearest_or_lists_a_few() -> None:
    assert unknown_key("widht", ["width", "depth", "width"]) == "unknown key widht: did you mean width?"
    assert unknown_key("zzz", ["width", "depth"]) == "unknown key zzz: the keys are width, depth"
    many = [f"a{number}" for number in range(30)] + ["dropout"]
    said = unknown_key("rate_of_drops", many)
    assert said.startswith("unknown key rate_of_drops: the nearest of 31 keys are dropout, ") and said.count(",") == 2
