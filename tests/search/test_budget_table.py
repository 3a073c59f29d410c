"""The best network within each of several budgets."""

from pathlib import Path

from rich.console import Console
from told_search import ToldSearch

from asc.runs.record import RunRecord, fold
from asc.search.budget_table import best_within, table, within_json
from asc.size.rules import rule


def searched(folder: Path) -> tuple[ToldSearch, RunRecord]:
    """A search of three budgets; no network fits the smallest one."""
    told = ToldSearch(folder, budget_kb=64.0, budgets_kb="1,32,64")
    told.trial(1.5, reference=True)
    for log_loss, width in ((1.0, 24), (1.2, 8), (1.3, 4)):
        told.trial(log_loss, point={"architecture.widths.0": width, "architecture.widths.1": 2 * width})
    return told, fold(told.entries)


def test_the_best_within_a_budget_is_the_best_that_fits_it(tmp_path: Path) -> None:
    told, record = searched(tmp_path / "s")
    tiny, small, large = best_within(record, rule("dcase2021"), told.settings)
    assert (tiny.budget_kb, small.budget_kb, large.budget_kb) == (1, 32, 64)
    assert tiny.trial is None and tiny.figures() == (None, None, None)
    best = record.completed()[0]
    fitting = [trial for trial in record.completed() if trial.asked.nonzero_bytes <= 32 * 1024]
    assert large.trial is best and small.trial is fitting[0] and fitting[0] is not best
    assert large.figures() == (1.0, 0.6, 1.5) and large.counted_bytes == best.asked.nonzero_bytes
    assert within_json(small, tmp_path)["model"] == str(tmp_path / "best-32kb" / "model.safetensors")
    assert within_json(tiny, tmp_path)["model"] is None
    with (console := Console(width=80)).capture() as captured:
        console.print(table((tiny, small, large)))
    said = captured.get()
    assert "best-64kb/" in said and "none" in said and "1.500" in said


def test_a_search_of_one_budget_has_no_table(tmp_path: Path) -> None:
    told = ToldSearch(tmp_path / "s")
    told.trial(1.0)
    assert best_within(fold(told.entries), rule("dcase2021"), told.settings) == ()
