"""A search that draws the front end, with two sample rates: both are packed once, before Ray starts."""

import json
from pathlib import Path

import pytest
from search_bench import Bench, assert_whole, ended

from asc.data.store_index import AUDIO_FILE
from asc.runs.journal import read_journal
from asc.runs.record import fold

SPACE = """
schema = 1
[parameters]
"front_end.sample_rate_hz" = { choices = [8000, 6000] }
"front_end.window_s" = { choices = [0.03, 0.08] }
"front_end.hop_s" = { choices = [0.01, 0.02] }
"front_end.normalisation" = { choices = ["mean_over_time", "none", "per_band", "residual"] }
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
"schedule.cycles" = { choices = [1] }
"schedule.epochs_per_cycle" = { choices = [2] }
"""


def packed(cache: Path) -> dict[Path, int]:
    """When each data set in the cache was packed."""
    return {path.parent: path.parent.stat().st_ctime_ns for path in cache.glob(f"*/{AUDIO_FILE}")}


@pytest.fixture
def drawn(bench: Bench) -> Bench:
    (bench.folder / "space.toml").write_text(SPACE)
    bench.environment["ASC_CACHE"] = str(bench.folder / "cache")
    return bench


def test_the_cost_of_packing_is_said_and_paid_once_for_each_rate(drawn: Bench) -> None:
    code, out, err = ended(drawn.search("dry", "--dry-run"))
    assert code == 0, err
    assert json.loads(out)["disk"]["rates_to_pack"] == [8000, 6000]
    assert "packing 96 clips at 8,000 and 6,000 Hz: about " in err and "of packed audio at 2 sample rates" in err
    assert "do not go together, such as: front_end.window_s is 640 samples, but front_end.dft_points is 512" in err

    code, out, err = ended(drawn.search("rates", "--trials", "3", "--max-concurrent", "2", "--seed", "1"))
    assert code == 0, err
    assert_whole(drawn, "rates")
    record = fold(read_journal(drawn.run("rates") / "journal.jsonl"))
    assert {trial.asked.config["front_end.sample_rate_hz"] for trial in record.trials.values()} == {8000, 6000}
    assert all(trial.ended and trial.ended.outcome == "completed" for trial in record.trials.values())
    cache = drawn.folder / "cache"
    made = packed(cache)
    assert len(made) == 2

    code, out, err = ended(drawn.search("again", "--dry-run"))
    assert code == 0 and json.loads(out)["disk"]["rates_to_pack"] == [] and "packing 96" not in err
    assert made == packed(cache)
