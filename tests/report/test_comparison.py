"""A page that compares searches: a row each, their progress, and what forbids the comparison."""

import dataclasses
from pathlib import Path

from told_search import EPOCHS, ToldSearch

from asc.report.comparison import comparison_page, doubts, verdict
from asc.report.from_journal import search_of
from asc.report.trials import Search


def told(folder: Path, *log_losses: float, **settings: float | str) -> Search:
    search = ToldSearch(folder, **settings)  # type: ignore[arg-type]
    for log_loss in log_losses:
        search.trial(log_loss)
    return search_of(search.entries)


def test_each_search_has_a_row_with_its_figures(tmp_path: Path) -> None:
    first, second = told(tmp_path / "first", 1.5, 1.1), told(tmp_path / "second", 1.4, name="<i>second</i>")
    page = comparison_page([first, second, told(tmp_path / "empty")]).decode()
    assert "<i>" not in page and "&lt;i&gt;second&lt;/i&gt;" in page
    for shown in (first, second):
        best = shown.completed[0]
        assert f">{best.log_loss:.4f}<" in page and f">{best.kilobytes:.2f}<" in page
    assert f">{2 * EPOCHS}<" in page and ">empty<" in page


def test_searches_over_other_clips_are_not_comparable(tmp_path: Path) -> None:
    one, other = told(tmp_path / "a", 1.0), told(tmp_path / "b", 2.0, data="esc10:/d", budget_kb=64.0)
    said = doubts([one, other])
    assert said[0] == "The searches differ in their data, so their figures are not of the same clips."
    assert said[1].startswith("The searches have different budgets") and len(said) == 2


def test_a_difference_within_the_noise_is_called_so(tmp_path: Path) -> None:
    one, near, far = (told(tmp_path / name, loss) for name, loss in (("one", 1.0), ("near", 1.05), ("far", 1.3)))
    assert doubts([far, one]) == []
    (sentence,) = doubts([far, near, one])
    assert sentence == (
        "one is ahead (1.000), but the best of near (1.050) lies within its 95 % interval (0.900 to 1.100): the "
        "difference may be chance."
    )


def test_it_says_which_search_was_better_and_how_they_differ(tmp_path: Path) -> None:
    one, near, far = (
        told(tmp_path / name, loss, seed=seed)
        for seed, (name, loss) in enumerate((("one", 1), ("near", 1.05), ("far", 1.3)))
    )
    assert verdict([far, one]).startswith(
        "one was better: its best network has log loss 1.000 (95 % interval 0.900 to 1.100), and the best of far "
        "1.300, outside that interval."
    )
    assert verdict([far, one]).endswith("Other seeds may change that.")
    kb = one.completed[0].kilobytes
    roomy, tight = (
        told(tmp_path / name, 1.3, budget_kb=limit) for name, limit in (("roomy", kb + 1), ("tight", kb / 2))
    )
    assert verdict([roomy, one]).endswith(
        f"Of networks within {kb + 1:g} KB, the best of one has 1.000, and the best of roomy has 1.300."
    )
    assert f"Of networks within {kb / 2:g} KB, one has none" in verdict([tight, one])
    assert verdict([far, near, one]) == doubts([far, near, one])[0]
    other = told(tmp_path / "other", 0.5, data="esc10:/d")
    assert verdict([one, other]).startswith("These figures do not say which search was better")
    empty = told(tmp_path / "empty")
    assert verdict([empty, one]) == "Only one has completed a trial." and verdict([empty]).startswith("No search has")
    page = comparison_page([far, one]).decode()
    assert "one was better" in page and "<td>--seed</td><td>2</td><td>0</td>" in page and "--budget-kb" not in page
    assert "What differs is chance" in comparison_page([one, told(tmp_path / "twin", 1.2, seed=0)]).decode()


def test_searches_that_rank_by_accuracy_are_compared_by_it(tmp_path: Path) -> None:
    one, other = (ToldSearch(tmp_path / name, rank_by="accuracy") for name in ("one", "other"))
    one.trial(1.0, accuracy=0.60)
    other.trial(2.0, accuracy=0.62)
    (sentence,) = doubts([search_of(one.entries), search_of(other.entries)])
    assert sentence.startswith("other is ahead (62.0%), but the best of one (60.0%) lies within its 95 % interval (")
    said = doubts([told(tmp_path / "third", 0.5), search_of(one.entries)])
    assert said == ["The searches rank by different figures (--rank-by), so each names the best in its own sense."]


def test_data_that_changed_is_told_from_clips_that_are_set_aside_for_finals(tmp_path: Path) -> None:
    def begun(name: str, digest: str, **settings: str | int) -> Search:
        search = ToldSearch(tmp_path / name, **settings)
        search.trial(1.0)
        started = search.entries[0]
        event = dataclasses.replace(started.event, data_digest=digest)  # type: ignore[type-var]
        return search_of([dataclasses.replace(started, event=event), *search.entries[1:]])

    def changed(*searches: Search) -> bool:
        return any(sentence.startswith("The data changed") for sentence in doubts(searches))

    plain, finals = begun("plain", "a"), begun("finals", "b", final_top=2)
    assert not changed(plain, finals), "half of calibration is set aside: nothing says that the data changed"
    assert not changed(finals, begun("as-is", "c", final_top=2, calibrate="none")), "it sets nothing aside"
    assert not changed(finals, begun("more", "b", final_top=3))
    assert changed(plain, finals, begun("other", "c"))
    assert changed(plain, begun("other-finals", "d", final_top=3), finals)
