"""What people see in a real browser: the report page, and MLflow's page with the saved views.

Needs Chromium, its driver and `pip install -e ".[browser]"`. It is not run by default; this runs it and keeps pictures:

    pytest -n 0 -m browser --screenshots DIR tests/launch/test_browser.py

With `--searches runs`, it looks at the two searches in that folder instead of two small ones of its own: that makes the
pictures in docs/.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from live_picture import live_picture
from mlflow import MlflowClient
from mlflow_server import Server
from patience import PATIENCE_S

from asc.report.page import search_page
from asc.runs.journal import read_journal
from asc.runs.record import RunRecord, fold
from asc.tracking.address import SEARCHES_VIEW, TRIALS_VIEW, search_view, ui_url
from asc.tracking.content import run_key

pytest.importorskip("selenium", reason='needs Selenium: pip install -e ".[browser]"')

if TYPE_CHECKING:
    from browser import Browser
    from search_bench import Bench

pytestmark = pytest.mark.browser
PHONE = {"width": 390, "height": 844, "phone": True}
MACHINE_LEARNING = "?workflowType=machine_learning"  # else MLflow's page shows its menu for language models
DRAWN = "return document.querySelectorAll('.figure.js-plotly-plot').length"
# MLflow's page asks a server without log-in for the user's name, and takes the 404 for an answer. Its charts are sized
# while the browser measures them, which the browser puts off to the next frame and calls an error.
OF_MLFLOW_ITSELF = (
    "users/current - Failed to load resource: the server responded with a status of 404",
    "ResizeObserver loop completed with undelivered notifications",
)


WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
EXPANDERS = """return [...document.querySelectorAll('.ag-row button[data-component-id*="runnamecellrenderer"]')]"""
PARALLEL_AXES = "return [...document.querySelectorAll('svg text, .parcoords text')].map(one => one.textContent).join()"
TO_PARAMETERS = """
    const named = one => one.children.length === 0 && one.textContent.trim() === 'Parameters';
    const title = [...document.querySelectorAll('*')].find(named);
    title?.scrollIntoView();
    return !!title;
"""


@pytest.fixture(scope="module")
def pictures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = request.config.getoption("--screenshots")
    return Path(given) if given else tmp_path_factory.mktemp("screenshots")


@dataclass(frozen=True, kw_only=True)
class Searched:
    """The folder of two searches, and their records, the older one first."""

    runs: Path
    records: tuple[RunRecord, RunRecord]

    @property
    def trials(self) -> int:
        return sum(len(record.trials) for record in self.records)


@pytest.fixture(scope="module")
def searched(request: pytest.FixtureRequest) -> Searched:
    """Two searches, whose trials are in one MLflow database."""
    given = request.config.getoption("--searches")
    runs = Path(given).resolve() if given else _searched(request.getfixturevalue("bench"))
    records = sorted((fold(read_journal(path)) for path in runs.glob("*/journal.jsonl")), key=lambda r: r.started_at_s)
    older, newer = records
    return Searched(runs=runs, records=(older, newer))


def _searched(bench: "Bench") -> Path:
    from search_bench import ended

    short = ("--epochs-per-cycle", "1")  # so that its best network errs
    for name, options in (("night", ("--trials", "4")), ("day", ("--trials", "3", *short))):
        code, _, err = ended(bench.search(name, *options))
        assert code == 0, err
        bench.sent(name, err)
    return bench.folder / "runs"


@pytest.fixture(scope="module")
def server(searched: Searched) -> Iterator[Server]:
    one = Server(searched.runs)
    one.start()
    deadline = time.monotonic() + PATIENCE_S
    while not one.answers():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield one
    one.stop()


@pytest.fixture
def browser() -> Iterator[Callable[..., "Browser"]]:
    """Opens browsers, and closes them at the end."""
    from browser import CHROMIUM, DRIVER, Browser

    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver, such as Debian's packages chromium and chromium-driver")
    opened: list[Browser] = []

    def open_one(**options: int) -> Browser:
        opened.append(Browser(**options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def errors(page: "Browser") -> list[str]:
    return [line for line in page.errors() if not any(harmless in line for harmless in OF_MLFLOW_ITSELF)]


def experiment(server: Server) -> str:
    found = MlflowClient(server.uri).get_experiment_by_name("asc")
    assert found is not None
    return str(found.experiment_id)


def names(page: "Browser") -> list[str]:
    """The names of the runs that MLflow's table shows, from top to bottom."""
    rows = "[...document.querySelectorAll('.ag-pinned-left-cols-container .ag-row')]"
    by_height = "sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)"
    found = page.run(f"return {rows}.{by_height}.map(row => row.querySelector('a').innerText.trim())")
    return [str(name) for name in found]


def column(page: "Browser", key: str) -> list[str]:
    """What a column of MLflow's table shows, from top to bottom."""
    cells = f"[...document.querySelectorAll('.ag-center-cols-container [col-id*=\"{key}\"]')]"
    by_height = "sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)"
    return [str(text) for text in page.run(f"return {cells}.{by_height}.map(cell => cell.innerText.trim())")]


def test_the_trials_of_all_searches_are_listed_best_first(server, browser, pictures, searched):
    page = browser(width=1700, height=700)
    page.open(ui_url(server.uri, experiment(server), TRIALS_VIEW))
    page.wait_for_text(f"{searched.trials} matching runs")
    page.close_assistant()
    page.wait(lambda: len(column(page, "metrics.`log_loss`")) == searched.trials, "the rows")
    page.picture(pictures / "mlflow_trials.png")
    shown = [text for text in column(page, "metrics.`log_loss`") if text != "-"]
    assert shown == sorted(shown, key=float) and len(shown) >= 2
    assert all(len(text) <= 9 for text in shown), "figures are rounded"
    assert set(column(page, "tags.`search`")) == {record.started.name for record in searched.records}
    assert "-" not in column(page, "epoch/valid_log_loss"), "stopped trials have their last value"
    assert all(re.fullmatch(r"[\d.]+(ms|s|min|h)", text) for text in column(page, "duration"))
    assert errors(page) == []


def test_the_trials_of_one_search_are_listed_alone(server, browser, searched):
    page = browser(width=1700, height=700)
    _, newer = searched.records
    page.open(ui_url(server.uri, experiment(server), search_view(run_key(newer))))
    page.wait_for_text(f"{len(newer.trials)} matching runs")
    page.close_assistant()
    page.wait(lambda: column(page, "tags.`search`") == [newer.started.name] * len(newer.trials), "the rows")
    assert errors(page) == []


def test_trials_stay_under_their_search(server, browser, pictures, searched):
    page = browser(width=1700, height=700)
    page.open(ui_url(server.uri, experiment(server), SEARCHES_VIEW))
    older, newer = searched.records
    page.wait(lambda: names(page) == [newer.started.name, older.started.name], "the two searches")
    page.close_assistant()
    for row in (1, 0):
        page.wait(lambda: len(page.run(EXPANDERS)) == 2, "the buttons that show trials")
        page.run("arguments[0].click()", page.run(EXPANDERS)[row])
        time.sleep(1)
    page.wait(lambda: len(names(page)) == searched.trials + 2, "the trials")
    assert names(page).index(newer.started.name) == 0
    assert names(page).index(older.started.name) == len(newer.trials) + 1
    page.picture(pictures / "mlflow_searches.png")
    assert errors(page) == []


def test_the_charts_open_with_parallel_coordinates_of_the_log_loss(server, browser, pictures):
    page = browser(width=1700, height=1500)
    page.open(f"{ui_url(server.uri, experiment(server), TRIALS_VIEW)}&compareRunsMode=CHART")
    page.wait_for_text("Parameters (1)")
    page.close_assistant()
    page.wait(lambda: page.run(TO_PARAMETERS), "the section of the parameters")
    text = page.text()
    assert text.index("epoch (4)") < text.index("Parameters (1)") < text.index("Model metrics (2)")
    page.wait(lambda: "log_loss" in str(page.run(PARALLEL_AXES)), "the axes")
    page.picture(pictures / "mlflow_charts.png")
    assert errors(page) == []


def test_a_trial_has_its_curves_on_top_and_its_size_among_the_params(server, browser, pictures):
    page = browser(width=1280, height=900)
    client = MlflowClient(server.uri)
    trial, *_ = client.search_runs([experiment(server)], "tags.`asc.trial` = 't000'")
    page.open(f"{server.uri}/#/experiments/{experiment(server)}/runs/{trial.info.run_id}{MACHINE_LEARNING}")
    page.wait_for_text("nonzero_bytes")
    page.close_assistant()
    page.open(
        f"{server.uri}/#/experiments/{experiment(server)}/runs/{trial.info.run_id}/model-metrics{MACHINE_LEARNING}"
    )
    page.wait_for_text("Model metrics (2)")
    assert page.text().index("epoch (4)") < page.text().index("Model metrics (2)")
    page.wait(lambda: page.run("return document.querySelectorAll('.js-plotly-plot').length") > 0, "the curves")
    page.picture(pictures / "mlflow_trial.png")
    assert errors(page) == []


def test_the_report_page_is_shown_among_the_files_of_the_search(server, browser, pictures, searched):
    page = browser(width=1600, height=1000)
    (search,) = MlflowClient(server.uri).search_runs(
        [experiment(server)], f"tags.`asc.kind` = 'search' AND tags.`asc.run` = '{run_key(searched.records[0])}'"
    )
    page.open(
        f"{server.uri}/#/experiments/{experiment(server)}/runs/{search.info.run_id}/artifacts/report.html{MACHINE_LEARNING}"
    )
    page.wait(lambda: page.run("return document.querySelectorAll('iframe').length"), "the frame of the page")
    page.close_assistant()
    page.driver.switch_to.frame(page.run("return document.querySelector('iframe')"))
    page.wait_for_text("Leaderboard")
    assert page.run(WIDER) == 0, "it scrolls sideways"
    page.show("#front .figure")
    page.wait(lambda: page.run(DRAWN) > 0, "the figures")
    page.run("window.scrollTo(0, 0)")
    page.driver.switch_to.default_content()
    page.picture(pictures / "mlflow_report.png")
    assert errors(page) == []


@pytest.mark.parametrize(
    ("name", "window"), [("report", {"width": 1280, "height": 900}), ("report_phone", PHONE)], ids=["desktop", "phone"]
)
def test_the_report_page_fits_and_its_clips_can_be_played(searched, browser, pictures, name, window):
    written = [searched.runs / record.started.name / "report.html" for record in searched.records]
    erring = [file for file in written if "<audio" in file.read_text("utf-8")]
    assert erring, "the best network of so short a search misclassifies some clips"
    page = browser(**window)
    page.open(erring[0].as_uri())
    figures = page.run("return document.querySelectorAll('.figure').length")
    for number in range(figures):
        page.run(f"document.querySelectorAll('.figure')[{number}].scrollIntoView()")
        page.wait(lambda: page.run(DRAWN) > number, "the figure")  # noqa: B023  # it is called at once
        assert page.run(WIDER) == 0, "it scrolls sideways"
    page.run("window.scrollTo(0, 0)")
    page.picture(pictures / f"{name}.png")
    page.show("#front")
    page.picture(pictures / f"{name}_figures.png")
    page.run("window.player = document.querySelector('.clips audio'); window.player.muted = true; window.player.play()")
    page.wait(lambda: page.run("return window.player.currentTime > 0.05 || window.player.ended"), "the sound")
    assert page.run("return window.player.error") is None
    assert errors(page) == []


def test_a_page_of_a_thousand_trials_opens(browser, tmp_path):
    """`tests/benchmarks/report_page.py` says how fast."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
    from synthetic_journal import reference, settings, write_journal

    sys.path.pop(0)
    journal = tmp_path / "journal.jsonl"
    base = reference(cycles=3, epochs_per_cycle=6)
    write_journal(journal, trials=1000, base=base, chosen=settings(trials=1000, slots=4))
    (tmp_path / "report.html").write_bytes(search_page(read_journal(journal), tmp_path))
    page = browser()
    page.open((tmp_path / "report.html").as_uri())
    page.show("#front .figure")
    page.wait(lambda: page.run(DRAWN) > 0, "the figures")
    assert page.run(WIDER) == 0 and errors(page) == []


def test_the_live_view_of_a_search_is_pictured(searched, browser, pictures, tmp_path):
    _, newer = searched.records
    entries = read_journal(searched.runs / newer.started.name / "journal.jsonl")
    (tmp_path / "live.html").write_text(live_picture(entries), "utf-8")
    page = browser(width=1000, height=700)
    page.open((tmp_path / "live.html").as_uri())
    shown = page.run("return document.documentElement.textContent").replace("\u00a0", " ")
    assert " trials" in shown and "epoch" in shown and "left" in shown
    page.picture(pictures / "live.png", of="svg")
