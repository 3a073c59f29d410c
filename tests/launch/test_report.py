"""launch/report.py as a user starts it: a page for one search, also while it runs, and one that compares several."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from launched import launched, refusal
from told_search import ToldSearch

from asc.runs.events import RunStarted
from asc.runs.storage import bucket_of

NIGHT = Path(__file__).resolve().parents[1] / "written_by_0_1" / "night"


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def figures(page: Path) -> list[str]:
    return list(json.loads(page.read_text().partition('id="figures">')[2].partition("</script>")[0]))


def test_the_page_of_a_search_that_runs_grows_with_it(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ToldSearch(storage / "night")  # its journal stays open and locked, as that of a running search
    page = storage / "night" / "report.html"
    assert launched("report.py", "night", "--storage", str(storage)) == 0
    assert "No trial has begun." in page.read_text()
    told.trial(1.0)
    assert launched("report.py", "night", "--storage", str(storage)) == 0
    assert "The search has not ended" in page.read_text() and "curves" in figures(page)
    out, err = capsys.readouterr()
    assert err == "" and f"written to {page} (2.0 MB): open it in a browser" in out


def test_several_searches_are_compared_on_one_page(storage: Path, tmp_path: Path) -> None:
    for name in ("night", "day"):
        ToldSearch(storage / name).trial(1.0)
    assert launched("report.py", "night", "day", "--storage", str(storage)) == 0
    page = storage / "comparison.html"
    assert figures(page) == ["reached"] and "<h1>night and day</h1>" in page.read_text()
    chosen = tmp_path / "new" / "page.html"
    assert launched("report.py", "day", "--storage", str(storage), "--output", str(chosen)) == 0
    assert "curves" in figures(chosen) and not (storage / "day" / "report.html").exists()


def test_a_search_of_an_older_asc_has_a_page(storage: Path) -> None:
    shutil.copytree(NIGHT, storage / "night")
    assert launched("report.py", "night", "--storage", str(storage)) == 0
    assert "classes" in figures(storage / "night" / "report.html")


def test_an_evaluation_adds_the_confusion_matrix(
    storage: Path, tiny_model: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASC_CACHE", str(tiny_cache))
    told = ToldSearch(storage / "night")
    told.trial(1.0, model="best/model.safetensors")
    model, page = storage / "night" / "best" / "model.safetensors", storage / "night" / "report.html"
    model.parent.mkdir()
    model.write_bytes(tiny_model.read_bytes())
    assert launched("report.py", "night", "--storage", str(storage)) == 0
    assert "confusion" not in figures(page) and f"launch/evaluate.py {model}" in page.read_text()
    assert launched("evaluate.py", str(model)) == 0
    assert launched("report.py", "night", "--storage", str(storage)) == 0
    assert {"classes", "confusion", "reliability"} < set(figures(page))
    assert "launch/evaluate.py" not in page.read_text()
    misclassified = json.loads((model.parent / "evaluation-valid" / "mistakes.json").read_text())
    assert f"{misclassified['total']} validation clips are misclassified." in page.read_text()
    assert page.read_text().count("<audio ") == len(misclassified["clips"]) == misclassified["total"]


def test_what_has_no_page_is_refused_in_one_sentence(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ToldSearch(storage / "night")
    told = ToldSearch(storage / "training")
    told.journal.path.write_text("")
    told.journal.append(RunStarted(name="training", kind="train", settings={}))
    (storage / "empty").mkdir()
    (storage / "empty" / "journal.jsonl").touch()
    (storage / "damaged").mkdir()
    (storage / "damaged" / "journal.jsonl").write_text("{}\n")

    def refused(*names: str) -> str:
        return refusal(capsys, "report.py", *names, "--storage", str(storage))

    assert f"no search was named: give the name of one of those in {storage}" in refused()
    assert f"{storage} is a folder: give --output a file" in refused("night", "--output", str(storage))
    assert "has no run none: its runs are damaged, empty, night, training" in refused("none")
    assert "is named twice" in refused("night", "night")
    assert "training is a training, not a search" in refused("training")
    assert "training is a training, not a search" in refused("night", "training")
    assert "the journal is empty: the run empty never started" in refused("night", "empty")
    assert "the journal is empty: the run empty never started" in refused("empty")
    assert "line 1 is damaged, or written by another version of asc" in refused("damaged")


def test_a_full_disk_leaves_the_earlier_page(
    storage: Path, capsys: pytest.CaptureFixture[str], file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    ToldSearch(storage / "night").trial(1.0)
    (storage / "night" / "report.html").write_text("earlier")
    with file_size_limit(500_000):
        assert f"{storage}/night/" in refusal(capsys, "report.py", "night", "--storage", str(storage))
    assert (storage / "night" / "report.html").read_text() == "earlier"


def test_a_run_in_a_bucket_is_read_from_there_or_while_it_runs_from_here(
    tmp_path: Path, object_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = object_store.bucket("reports")
    told = ToldSearch(tmp_path / "elsewhere" / "night")
    told.trial(1.0)
    bucket = bucket_of(storage)
    assert bucket is not None
    bucket.at("night").put("journal.jsonl", told.journal.path.read_bytes())
    assert launched("report.py", "night", "--storage", storage) == 0
    page = tmp_path / "runs" / "night" / "report.html"
    assert page.read_text().count("t001") == 0
    here = ToldSearch(tmp_path / "runs" / "night")
    here.trial(0.9)
    assert launched("report.py", "night", "--storage", storage) == 0, "the search runs here and is ahead of the bucket"
    assert page.read_text().count("t001") > 0
