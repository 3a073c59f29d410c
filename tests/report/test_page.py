"""The page of a search: its numbers are the journal's, whatever the search was, and no name on it becomes HTML."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from told_search import EPOCHS, EPOCHS_PER_CYCLE, ToldSearch

from asc.console.evaluation_text import About, tree
from asc.model_file.model_header import read_model_file
from asc.report.best import EVALUATION
from asc.report.page import search_page
from asc.results import Examination, SplitFigures
from asc.runs.events import (
    FinalAsked,
    FinalConfirmed,
    FinalistsChosen,
    PointRefused,
    RunEnded,
    RungReached,
    RunResumed,
    TrialEnded,
    TrialRetried,
)
from asc.runs.journal import read_journal
from asc.runs.record import fold
from asc.search.leaderboard import leaderboard

NIGHT = Path(__file__).resolve().parents[1] / "written_by_0_1" / "night"
EVIL = "<img src=https:x onerror=alert(1)>"


def told(folder: Path, *, trials: int = 12, **settings: str | float) -> ToldSearch:
    search = ToldSearch(folder, **settings)  # type: ignore[arg-type]
    search.trial(1.6, reference=True)
    for number in range(1, trials):
        search.trial(0.9 + 0.05 * (number * 5 % 11), outcome="stopped" if number % 4 == 0 else "completed")
    return search


def rows(page: str, section: str) -> list[list[str]]:
    """The cells of the first table of a section."""
    inside = page.partition(f'<section id="{section}">')[2].partition("</table>")[0]
    return [
        [unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall(r"<t[dh][^>]*>.*?</t[dh]>", row)]
        for row in re.findall(r"<tr>.*?</tr>", inside)
    ]


def figures(page: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(page.partition('id="figures">')[2].partition("</script>")[0])
    return found


def test_the_leaderboard_is_that_of_the_search(tmp_path: Path) -> None:
    search = told(tmp_path / "s")
    page = search_page(search.entries, search.folder).decode()
    columns, *shown = rows(page, "leaderboard")
    expected = leaderboard(fold(search.entries), search.space, search.budget.rule)
    by_name = [dict(zip(columns, row, strict=True)) for row in shown]
    assert [row["trial"].removesuffix(" ref.") for row in by_name] == [row.trial for row in expected]
    for shown_row, row in zip(by_name, expected, strict=True):
        assert shown_row["#"] == ("" if row.rank is None else str(row.rank))
        assert float(shown_row["log loss"]) == pytest.approx(row.log_loss, abs=1e-4)
        assert float(shown_row["KB"]) == pytest.approx(row.predicted_bytes / 1024, abs=0.01)
        assert shown_row["epochs"] == str(row.epochs) and (shown_row.get("repaired") == "yes") == row.repaired
    best = expected[0].log_loss
    assert best is not None and by_name[0]["95 % interval"] == f"{best - 0.1:.3f} to {best + 0.1:.3f}"


def test_the_outcomes_are_counted_with_their_epochs(tmp_path: Path) -> None:
    search = told(tmp_path / "s")
    search.trial(2.0, outcome=None)
    search.journal.append(TrialRetried(trial="t012", epoch=2, reason="killed"))
    waiting = search.trial(2.0, outcome=None)
    search.journal.append(RungReached(trial=waiting, epoch=2, log_loss=2.0, stopped=False, paused=True))
    for twin in (None, "t001", "t002"):
        search.journal.append(PointRefused(point={}, reason="r", twin=twin))
    page = search_page(search.entries, search.folder).decode()
    _, *shown = rows(page, "outcomes")
    counts = {outcome: (int(trials), int(epochs)) for outcome, trials, epochs, *_ in shown}
    assert counts == {
        "completed": (10, 10 * EPOCHS),
        "stopped": (2, 2 * EPOCHS_PER_CYCLE),
        "paused": (1, 2),
        "unfinished": (1, 2),
    }
    assert {"paused", "unfinished"} < {trace["name"] for trace in figures(page)["curves"]["data"]}
    assert "Lost workers: 1; their trials were tried again." in page
    assert "3 points became no trial: 2 were drawn before, 1 did not fit." in page


def test_a_column_that_says_nothing_is_left_out(tmp_path: Path) -> None:
    search = told(tmp_path / "s")
    columns, *shown = rows(search_page(search.entries, search.folder).decode(), "leaderboard")
    assert all(any(row[column] for row in shown) for column in range(len(columns)))
    assert "repaired" not in columns, "no trial was"


def test_every_part_is_there_and_the_file_is_small(tmp_path: Path) -> None:
    search = told(tmp_path / "s", trials=24)
    search.journal.append(RunEnded(outcome="finished", best="t001"))
    page = search_page(search.entries, search.folder)
    assert len(page) < 5_000_000
    drawn = figures(page.decode())
    assert {f"{value}-{cost}" for value in ("log_loss", "accuracy") for cost in ("kilobytes", "mmacs_per_s")} < set(
        drawn
    )
    assert {"curves", "reached", "importance", "parallel-all"} < set(drawn)
    assert {f"parameter-{key}" for key in search.space.sampled} < set(drawn)
    assert set(drawn) == set(re.findall(r'data-figure="([^"]+)"', page.decode()))
    text = unescape(page.decode())
    assert "--name s-again" in text and f"--config {tmp_path}/s/best/config.toml" in text
    assert "launch/evaluate.py" not in text, "the run's folder has no model to evaluate"


def test_a_long_search_shows_its_first_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("page", "page_tables", "parameter_figures"):
        monkeypatch.setattr(f"asc.report.{module}.MOST_TRIALS", 5)
    search = told(tmp_path / "s")
    page = search_page(search.entries, search.folder).decode()
    assert len(rows(page, "leaderboard")) == 1 + 5 and "The first 5 are shown here" in page
    points = figures(page)["parameter-schedule.learning_rate_max"]["data"]
    assert len(points[0]["x"]) == 5 and len(figures(page)["log_loss-kilobytes"]["data"][0]["x"]) > 1  # type: ignore[index]


@pytest.mark.parametrize("trials", [0, 1])
def test_a_search_that_has_hardly_begun_has_a_page(tmp_path: Path, trials: int) -> None:
    search = ToldSearch(tmp_path / "s")
    for _ in range(trials):
        search.trial(1.0, outcome=None)
    page = search_page(search.entries, search.folder).decode()
    assert ("No trial has begun." in page) == (trials == 0)
    assert ("No trial has completed" in page) == (trials == 1)
    assert list(figures(page)) == (["curves"] if trials else [])


def test_one_completed_trial_and_several_families_have_pages(tmp_path: Path) -> None:
    one = told(tmp_path / "one", trials=1)
    page = search_page(one.entries, one.folder).decode()
    assert rows(page, "leaderboard")[1][1] == "t000 ref."
    families = ToldSearch(tmp_path / "families", space="families128")
    for number in range(24):
        families.trial(1.0 + number / 50)
    drawn = figures(search_page(families.entries, families.folder).decode())
    assert sum(key.startswith("parallel-") for key in drawn) > 1


def test_a_search_of_an_older_asc_has_a_page_with_the_figures_of_its_files() -> None:
    entries = read_journal(NIGHT / "journal.jsonl")
    page = search_page(entries, NIGHT).decode()
    best = fold(entries).completed()[0].ended
    assert best is not None and rows(page, "leaderboard")[1][3] == f"{best.log_loss:.4f}"
    assert "The journal holds no intervals." in page and "classes" in figures(page)


def test_no_name_becomes_html(tmp_path: Path) -> None:
    def elements(page: bytes) -> list[str]:
        text = page.decode().partition('<script type="application/json"')[0]
        return re.findall(r"<[a-zA-Z/!][^\s>]*", text)

    pages = []
    for name in ("plain", EVIL):
        search = ToldSearch(tmp_path / str(len(pages)), name=name, data=f"folder:{name}", holdout_devices=name)
        search.trial(1.6, reference=True)
        search.trial(1.0)
        search.trial(1.0, outcome="failed")
        failed = search.entries[-1].event
        object.__setattr__(failed, "reason", name)
        pages.append(search_page(search.entries, tmp_path / name))
    assert elements(pages[0]) == elements(pages[1])
    assert EVIL.encode() not in pages[1] and unescape(pages[1].decode()).count(EVIL) > 5


def test_finalists_are_shown_with_their_winners_curse(tmp_path: Path) -> None:
    search = told(tmp_path / "s")
    assert '<section id="finalists">' not in search_page(search.entries, search.folder).decode()
    best, second = (trial.asked for trial in fold(search.entries).completed()[:2])
    chosen = FinalistsChosen(trials=(best.trial, second.trial), seeds=(1,), cycles=2, epochs_per_cycle=6)
    search.journal.append(chosen)
    for asked, valid, unseen in ((best, 0.85, 1.1), (second, 0.88, 1.0)):
        name = f"{asked.trial}-seed1"
        final = FinalAsked(final=name, trial=asked.trial, title=name, seed=1, config=asked.config)
        search.journal.append(final)
        ended = TrialEnded(trial=name, outcome="completed", epochs=12, seconds=9.0, log_loss=valid, accuracy=0.6)
        search.journal.append(ended)
        figures = SplitFigures(split="confirmation", clips=20, log_loss=unseen, accuracy=0.55)
        search.journal.append(FinalConfirmed(final=name, figures=figures))
    page = search_page(search.entries, search.folder).decode()
    _, first, last = rows(page, "finalists")
    found = [trial.ended.log_loss for trial in fold(search.entries).completed()[:2] if trial.ended is not None]
    curses = [unseen - (seen or 0) for unseen, seen in zip((1.0, 1.1), reversed(found), strict=True)]
    assert first[:2] == ["1", second.trial] and last[:2] == ["2", best.trial], "the best on unseen clips wins"
    assert (first[4], first[5], first[8]) == ("0.880", "1.000", f"{curses[0]:+.3f}")
    assert (last[5], last[8]) == ("1.100", f"{curses[1]:+.3f}")
    said = page.partition('<section id="finalists">')[2].partition("<table")[0]
    assert "1 seed for 2 x 6 epochs. Figures are means over seeds; confirmation is on clips that the search" in said
    assert f"{second.trial} won, and seed 1" in said


def with_finals(search: ToldSearch) -> str:
    """Write finals of the two best trials to the journal; the second trial wins. Return the name of the saved final."""
    first, second = (trial.asked.trial for trial in fold(search.entries).completed()[:2])
    search.chosen(first, second)
    search.final(first, 0.7, unseen=1.1)
    shipped = search.final(second, 0.8, unseen=1.0, accuracy=0.65)
    search.journal.append(RunEnded(outcome="finished", best=shipped))
    return shipped


def test_the_page_says_which_final_is_saved(tmp_path: Path) -> None:
    search = told(tmp_path / "s")
    best = fold(search.entries).completed()[0].ended
    shipped = with_finals(search)
    page = unescape(search_page(search.entries, search.folder).decode())
    cards = page.partition('<div class="cards">')[2].partition("<ul")[0]
    assert f"<small>saved as best, a final</small><b>{shipped}</b>" in cards
    assert "log loss 0.800, accuracy 65.0% on validation" in cards and "<b>0.800</b>" in cards
    assert best is not None and f"<small>best of the search</small><b>{best.trial}</b>" in cards
    assert "The best of the search and the reference" in page and "full schedule" not in page


def test_an_evaluation_of_the_saved_final_adds_its_confusion_matrix_to_the_page(
    tmp_path: Path, tiny_model: Path, examination: Examination, about: About
) -> None:
    search = told(tmp_path / "s")
    with_finals(search)
    model = search.folder / "best" / "model.safetensors"
    model.parent.mkdir()
    model.write_bytes(tiny_model.read_bytes())
    page = search_page(search.entries, search.folder).decode()
    assert "evaluate it and write this page again" in page and "confusion" not in figures(page)
    of_final = replace(examination.evaluation, log_loss=read_model_file(model)[0].evaluation.log_loss)
    path = search.folder / EVALUATION
    path.parent.mkdir()
    path.write_text(json.dumps(tree(replace(examination, evaluation=of_final), about)))
    page = search_page(search.entries, search.folder).decode()
    assert "evaluate it and write this page again" not in page and "confusion" in figures(page)


def test_finals_have_a_row_of_their_own_among_the_outcomes(tmp_path: Path) -> None:
    search = told(tmp_path / "s", trials=3)
    with_finals(search)
    page = search_page(search.entries, search.folder).decode()
    _, *shown = rows(page, "outcomes")
    assert [row[:4] for row in shown] == [
        ["completed", "3", str(3 * EPOCHS), "43%"],
        ["finals", "2", "24", "57%"],
    ]
    assert shown[1][4] == f"{2 * 24 / 60:.1f}"
    assert f"{3 * EPOCHS} epochs, begun" in page


def test_the_page_says_whether_its_command_repeats_the_search(tmp_path: Path) -> None:
    def again(search: ToldSearch) -> str:
        page = search_page(search.entries, search.folder).decode()
        return page.partition('<section id="again">')[2].partition("<details")[0]

    one = ToldSearch(tmp_path / "one")
    assert "the command repeats it to the last digit, on the same kind of processor." in again(one)
    several = ToldSearch(tmp_path / "several", max_concurrent=2)
    assert "so another run draws other points" in again(several)
    one.journal.append(RunResumed(settings={"trials": 12}))
    assert "A resume changed its options (--trials), so another run may draw other points." in again(one)
