"""What docs/ says of Python runs: the examples of docs/python.md, and the notebook from top to bottom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import forking
from patience import PATIENCE_S

from asc.runs.journal import read_journal
from asc.runs.record import fold

ROOT = Path(__file__).resolve().parents[1]


def run(page: str, folder: Path, cache: Path) -> str:
    """Run a page or a notebook in a folder, in a fresh process, and return what it printed."""
    script = [sys.executable, "-W", "error::ImportWarning", str(ROOT / "tests/support/documented.py")]
    environment = {**os.environ, "ASC_CACHE": str(cache), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", **forking()}
    ended = subprocess.run(
        [*script, str(ROOT / "docs" / page)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_examples_for_python_say_what_the_page_says(tiny_csv: Path, tiny_cache: Path, tmp_path: Path) -> None:
    for clip in sorted(tiny_csv.parent.glob("*.wav")):
        place = tmp_path / "recordings" / clip.name.partition("-")[0]
        place.mkdir(parents=True, exist_ok=True)
        (place / clip.name).symlink_to(clip)
    run("python.md", tmp_path, tiny_cache)
    record = fold(read_journal(tmp_path / "runs/first/journal.jsonl"))
    assert record.ended is not None and record.ended.outcome == "finished" and len(record.trials) == 2


def test_an_example_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n    >>> import asc\n    >>> asc.size().fits(64)\n    True\n")
    with pytest.raises(AssertionError, match="Expected:"):
        run(str(page), tmp_path, tmp_path)


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    run("tour.ipynb", tmp_path, tmp_path / "cache")
    assert (tmp_path / "runs/tour/report.html").is_file()
    assert (tmp_path / "runs/tour-longer/best/evaluation-test/evaluation.json").is_file()
    notebook = json.loads((ROOT / "docs/tour.ipynb").read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
