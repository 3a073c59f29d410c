"""What a resumed search takes from its journal, and what may be given anew."""

from collections.abc import Callable

import pytest

from asc.errors import InputError
from asc.journal import Journal, RunResumed, RunStarted, fold
from asc.search.options import Options
from asc.search.resume import journalled_space, resumed_settings, resumed_space
from asc.search.settings import SearchSettings
from asc.space import Space


def test_settings_are_those_of_the_start_with_what_was_given_later(
    journal: Callable[[], Journal], settings: SearchSettings
) -> None:
    written = journal()
    assert resumed_settings(fold(written.entries), {}) == settings
    written.append(RunResumed(settings={"trials": 20}))
    assert resumed_settings(fold(written.entries), {}).trials == 20
    assert resumed_settings(fold(written.entries), {"trials": 30}).trials == 30
    assert resumed_settings(fold(written.entries), {"budget_kb": 128.0}).budget_kb == 128, "the same is no change"


def test_what_would_change_the_search_is_refused(journal: Callable[[], Journal]) -> None:
    with pytest.raises(InputError, match="--budget-kb is 128.0 in s and cannot change"):
        resumed_settings(fold(journal().entries), {"budget_kb": 64.0})


def test_a_training_is_not_resumed_as_a_search(journal: Callable[[], Journal]) -> None:
    record = fold(journal().entries)
    record.started = RunStarted(name="t", kind="train", settings={})
    with pytest.raises(InputError, match=r"launch/train.py"):
        resumed_settings(record, {})


def test_the_space_comes_back_from_the_journal_word_for_word(journal: Callable[[], Journal], idlab128: Space) -> None:
    record = fold(journal().entries)
    record.started = RunStarted(name="s", kind="search", settings={}, space=journalled_space(idlab128))
    assert resumed_space(record) == idlab128


def test_defaults_are_sized_for_the_machine_and_options_win() -> None:
    made = Options().settings()
    assert (made.budget_kb, made.rule, made.recipe, made.data, made.trials) == (
        128,
        "dcase2021",
        "qat_8b",
        "synthetic",
        8,
    )
    assert 1 <= made.max_concurrent <= 4 and made.cpus_per_trial >= 1
    chosen = Options(budget_kb=16, trials=3, max_concurrent=1, seed=4)
    assert chosen.given() == {"budget_kb": 16, "trials": 3, "max_concurrent": 1, "seed": 4}
    assert chosen.settings().seed == 4 and chosen.settings().max_concurrent == 1
