"""Which settings a resumed search takes from its journal, and which may change."""

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from asc.api import searching
from asc.console.cli import Output
from asc.errors import InputError
from asc.runs.events import RunResumed, RunStarted
from asc.runs.journal import Journal
from asc.runs.record import Final, fold
from asc.search.opening import begun, opened, resumed_settings
from asc.search.options import SearchOptions
from asc.search.plan import plan_search
from asc.search.settings import SearchSettings


def test_settings_are_those_of_the_start_and_of_each_resumption(
    journal: Callable[[], Journal], settings: SearchSettings
) -> None:
    written = journal()
    assert resumed_settings(fold(written.entries), {}) == settings
    written.append(RunResumed(settings={"trials": 20}))
    assert resumed_settings(fold(written.entries), {}).trials == 20
    assert resumed_settings(fold(written.entries), {"trials": 30}).trials == 30
    assert resumed_settings(fold(written.entries), {"budget_kb": 128.0}).budget_kb == 128, "an equal value is allowed"


def test_a_setting_that_would_change_the_search_is_refused(journal: Callable[[], Journal]) -> None:
    with pytest.raises(InputError, match="--budget-kb is 128.0 in s and cannot change"):
        resumed_settings(fold(journal().entries), {"budget_kb": 64.0})


def test_objectives_are_the_same_in_any_order_and_cannot_change(journal: Callable[[], Journal], tmp_path: Path) -> None:
    started = journal()
    with pytest.raises(InputError, match="--objectives was not given in s and cannot change on --resume: leave it out"):
        resumed_settings(fold(started.entries), SearchOptions(objectives="log_loss,bytes").given())
    started.append(RunResumed(settings=SearchOptions(objectives="macs, log_loss,bytes").given()))
    record = fold(started.entries)
    for again in ("log_loss,macs,bytes", "macs,bytes,log_loss,"):
        assert resumed_settings(record, SearchOptions(objectives=again).given()).aims == ("log_loss", "macs", "bytes")
    with pytest.raises(InputError, match="--objectives is log_loss,macs,bytes in s and cannot change on --resume"):
        resumed_settings(record, SearchOptions(objectives="log_loss,macs").given())


def test_what_trials_are_ranked_by_may_change_until_finals_have_begun(
    journal: Callable[[], Journal], settings: SearchSettings
) -> None:
    record = fold(journal().entries)
    assert "rank_by" not in record.started.settings, "journals of asc 0.1 lack this key"
    assert resumed_settings(record, {"rank_by": "accuracy"}).rank_by == "accuracy"
    record.finals["t000-seed1"] = Final(trial="t000", seed=1, training=record.trials["t000"])
    with pytest.raises(InputError, match="--rank-by is log_loss in s and cannot change on --resume"):
        resumed_settings(record, {"rank_by": "accuracy"})


def test_a_training_is_not_resumed_as_a_search(journal: Callable[[], Journal]) -> None:
    record = fold(journal().entries)
    record.started = RunStarted(name="t", kind="train", settings={})
    with pytest.raises(InputError, match=r"launch/train.py"):
        resumed_settings(record, {})


def test_a_resumed_search_has_its_first_settings(tmp_path: Path) -> None:
    options = SearchOptions(space="idlab128", storage=tmp_path, name="s", trials=3)
    first = opened(options)
    made = plan_search(first.settings, first.space)
    begun(first, options, made).close()
    again = opened(SearchOptions(resume="s", storage=tmp_path))
    assert again.settings == first.settings
    assert again.space == first.space
    assert again.reference == made.base


def test_a_pattern_for_groups_is_a_setting_of_the_search(tmp_path: Path) -> None:
    given = SearchOptions(data="folder:here", group_from="/(.)-", storage=tmp_path, name="s")
    settings = opened(given).settings
    assert settings.choice.group_from == "/(.)-" and settings.scalars()["group_from"] == "/(.)-"
    assert "group_from" not in SearchOptions(data="folder:here").settings().scalars(), "old journals lack this key"


def test_a_search_counts_by_the_rule_of_its_space_unless_told_otherwise(tmp_path: Path) -> None:
    assert opened(SearchOptions(space="dcase2025", storage=tmp_path)).settings.rule == "dcase2025"
    assert opened(SearchOptions(space="dcase2025", rule="file", storage=tmp_path)).settings.rule == "file"
    assert opened(SearchOptions(space="idlab128", storage=tmp_path)).settings.rule == "dcase2021"


def test_other_data_are_refused_on_resume(tmp_path: Path) -> None:
    options = SearchOptions(storage=tmp_path, name="s")
    first = opened(options)
    begun(first, options, plan_search(first.settings, first.space)).close()
    again = opened(SearchOptions(resume="s", storage=tmp_path))
    other = plan_search(dataclasses.replace(again.settings, data="synthetic:7"), again.space)
    with pytest.raises(InputError, match="is not what s began with"):
        begun(again, SearchOptions(resume="s", storage=tmp_path), other)


def test_a_search_that_fails_before_it_has_begun_can_be_resumed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, output = SearchOptions(storage=str(tmp_path), name="s"), Output(as_json=True, quiet=True)
    first = opened(options)
    begun(first, options, plan_search(first.settings, first.space)).close()
    resumed = SearchOptions(resume="s", storage=str(tmp_path))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    failures = list[BaseException]()  # whose tracebacks keep what the functions held
    for wrong in ({"budget_kb": 64}, {"address": "127.0.0.1:9"}):
        with pytest.raises(InputError, match="--budget-kb|--address") as refused:
            searching.prepared(dataclasses.replace(resumed, **wrong), output)  # type: ignore[arg-type]
        failures.append(refused.value)
    monkeypatch.setattr(searching, "pack", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left") as failed:
            searching.searched(searching.prepared(resumed, output), resumed, output)
        failures.append(failed.value)
    opened(resumed).journal.close()  # type: ignore[union-attr]


def test_teachers_are_refused_in_a_bucket_before_it_is_opened() -> None:
    for teaching in ({"distil": True}, {"teacher_logits": "t.safetensors"}):
        with pytest.raises(InputError, match="s3://b is a bucket, where finals would not find the soft labels"):
            opened(SearchOptions(storage="s3://b", final_top=1, **teaching))  # type: ignore[arg-type]


def test_several_budgets_are_refused_in_a_bucket_before_it_is_opened() -> None:
    with pytest.raises(InputError, match="is a bucket, which holds one best network"):
        opened(SearchOptions(storage="s3://bucket/x", budget_kb="16,32"))


@pytest.mark.parametrize("changed", [{"space": "idlab128"}, {"name": "other"}])
def test_space_and_name_are_refused_on_resume(tmp_path: Path, changed: dict[str, str]) -> None:
    with pytest.raises(InputError, match="cannot change on --resume s"):
        opened(SearchOptions(resume="s", storage=tmp_path, **changed))  # type: ignore[arg-type]


def test_defaults_depend_on_the_machine_and_options_override_them() -> None:
    made = SearchOptions().settings()
    assert (made.budget_kb, made.rule, made.recipe, made.data, made.trials) == (
        128,
        "dcase2021",
        "qat_8b",
        "synthetic",
        8,
    )
    assert 1 <= made.max_concurrent <= 4 and made.cpus_per_trial >= 1
    chosen = SearchOptions(budget_kb=16, trials=3, max_concurrent=1, seed=4)
    assert chosen.given() == {"budget_kb": 16, "trials": 3, "max_concurrent": 1, "seed": 4}
    several = SearchOptions(budget_kb="16,128,32").settings()
    assert several.budgets == (128, 32, 16) and (several.budget_kb, several.budgets_kb) == (128, "16,32,128")
    assert SearchOptions(budget_kb="16").settings().budgets == (16,)
    assert chosen.settings().seed == 4 and chosen.settings().max_concurrent == 1
