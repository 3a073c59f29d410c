"""The keywords of Python's functions are the options of the scripts, with the same types."""

import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asc.api.keywords import (
    EvaluateKeywords,
    SearchKeywords,
    TrainKeywords,
    assignments,
    evaluate_options,
    names,
    search_options,
    train_options,
)
from asc.config.recipes.loading import parse_assignment
from asc.console.evaluate_options import EvaluateOptions
from asc.console.options import ConfigOptions, DataOptions
from asc.console.train_options import TrainOptions
from asc.errors import InputError
from asc.search.options import SearchOptions

PAIRS = [
    (SearchKeywords, (SearchOptions,)),
    (TrainKeywords, (TrainOptions, ConfigOptions, DataOptions)),
    (EvaluateKeywords, (EvaluateOptions,)),
]


def parts(hint: Any) -> set[Any]:
    """The types of a union, without None, and with Path for text, because both may be given where a path is meant."""
    found = set(typing.get_args(hint)) if isinstance(hint, types.UnionType | typing._UnionGenericAlias) else {hint}  # type: ignore[attr-defined]
    return {str if one is Path else one for one in found} - {type(None)}


@pytest.mark.parametrize(("keywords", "options"), PAIRS)
def test_each_keyword_is_an_option_with_its_type(keywords: Any, options: tuple[Any, ...]) -> None:
    expected = {name: hint for cls in options for name, hint in typing.get_type_hints(cls).items()}
    found = typing.get_type_hints(keywords)
    assert set(found) == set(names(options[0])) - {"model"}
    for name in set(found) - {"overrides"}:
        assert parts(found[name]) == parts(expected[name]), name


def test_keywords_become_options() -> None:
    searched = search_options({"data": Path("x.csv"), "budget_kb": 64, "cache": "c", "name": None})  # type: ignore[typeddict-item]
    assert searched == SearchOptions(data="x.csv", budget_kb=64.0, cache=Path("c"))
    assert isinstance(searched.budget_kb, float)
    assert search_options({"budget_kb": "16,32"}).settings().budgets == (32, 16)
    trained = train_options({"overrides": {"schedule.batch_size": 8}, "fold": 2, "seed": 3})
    expected = TrainOptions(
        network=ConfigOptions(overrides=("schedule.batch_size=8",)), data=DataOptions(fold=2), seed=3
    )
    assert trained == expected
    judged = evaluate_options("night/t005", {"split": "test", "output": "there"})
    assert judged == EvaluateOptions(model=Path("night/t005"), split="test", output=Path("there"))


def test_changes_of_a_config_are_read_back_as_they_were_given() -> None:
    changes = {"a": [16, 32], "b": 1e-5, "c": True, "d": 'a "word"', "e": 3}
    assert dict(map(parse_assignment, assignments(changes))) == changes


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"budget": 64}, "unknown key budget: did you mean budget_kb?"),
        ({"dry_run": True}, "unknown key dry_run: the nearest of "),
        ({"max_ram_kb": "64"}, "max_ram_kb must be a number, got '64'"),
        ({"trials": 2.5}, "trials must be a whole number or nothing, got 2.5"),
        ({"calibrate": "platt"}, "calibrate must be one of none, temperature, multinomial, one_vs_rest, got 'platt'"),
        ({"cache": 7}, "cache must be a path, got 7"),
    ],
)
def test_a_wrong_keyword_is_one_sentence(wrong: Any, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        search_options(wrong)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("value", [np.int64(3), {8, 16}, Path("3")])
def test_a_value_that_no_config_can_hold_is_named(value: object) -> None:
    with pytest.raises(InputError, match="overrides: schedule.batch_size must be a number, .* got "):
        train_options({"overrides": {"schedule.batch_size": value}})  # type: ignore[dict-item]


def test_overrides_must_be_a_dict() -> None:
    with pytest.raises(InputError, match="overrides must be a dict"):
        train_options({"overrides": ["seed=3"]})  # type: ignore[typeddict-item]
