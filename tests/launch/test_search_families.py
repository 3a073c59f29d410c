"""A search over two families of networks with real Ray: killed in its middle, resumed, and refused for wrong input."""

import os
import signal

import pytest
from launched import refusal
from search_bench import Bench, assert_whole, ended, events, wait_for

from asc.runs.events import EpochDone
from asc.runs.journal import read_journal
from asc.runs.record import fold

SPACE = """
schema = 1
rule = "dcase2024"
[parameters]
"architecture.family" = { choices = ["resnet_se", "cp_mobile"] }
"schedule.learning_rate_max" = { low = 2e-3, high = 2e-2, log = true }
"schedule.cycles" = { choices = [3] }
"schedule.epochs_per_cycle" = { choices = [9] }
[families.resnet_se]
"architecture.widths.0" = { low = 4, high = 16, step = 4 }
[families.cp_mobile]
"architecture.cp_mobile.base_channels" = { low = 8, high = 32, step = 8 }
"architecture.cp_mobile.depths" = { choices = [[1, 1]] }
"architecture.cp_mobile.frequency_strides" = { choices = [[2, 1]] }
"architecture.cp_mobile.time_strides" = { choices = [[2, 1]] }
"""
SCHEDULE = ("--cycles", "2", "--epochs-per-cycle", "1", "--cycle-growth", "2")
SIX = ("--trials", "6", "--seed", "1", *SCHEDULE, "--mlflow-uri", "none")


def test_a_killed_search_over_two_families_goes_on_within_its_limits(bench: Bench) -> None:
    (bench.folder / "families.toml").write_text(SPACE)
    process = bench.search("families", *SIX, "--space", "families.toml", "--max-mmacs-per-s", "0.3")
    run = bench.run("families")
    wait_for(lambda: any(isinstance(e, EpochDone) and e.trial == "t002" for e in events(run)), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    code, _, err = ended(bench.start("--resume", "families"))
    assert code == 0, err
    assert_whole(bench, "families")
    record = fold(read_journal(run / "journal.jsonl"))
    assert len(record.trials) == 6 and record.started.settings["rule"] == "dcase2024"
    for trial in record.trials.values():
        assert trial.asked.size_bytes <= 4_000 and trial.asked.macs_per_second <= 300_000
        assert trial.ended is not None and trial.ended.built in (None, trial.asked.predicted)
        config = trial.asked.config
        schedule = [config[f"schedule.{key}"] for key in ("cycles", "epochs_per_cycle", "cycle_growth")]
        assert schedule == [2, 1, 2], "all as trial 0"
    points = [trial.asked.point for trial in record.trials.values() if trial.asked.point]
    assert {point["architecture.family"] for point in points} == {"resnet_se", "cp_mobile"}


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "architecture.widths.0",
            "architecture.cp_mobile.base_channels",
            "architecture.cp_mobile.base_channels is a key of the family cp_mobile, not of resnet_se",
        ),
        (
            "[families.cp_mobile]",
            '[families.cp_mobile]\n"architecture.cp_mobile.channels_multiplier" = { choices = [16.0] }',
            "no network of the family cp_mobile in space wrong is within the limits",
        ),
        ('rule = "dcase2024"', 'rule = "dcase2020"', "unknown accounting rule 'dcase2020': choose one of"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_before_ray_starts(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(bench.folder)
    (bench.folder / "wrong.toml").write_text(SPACE.replace(old, new, 1))
    given = ("--recipe", "tiny.toml", "--space", "wrong.toml", "--name", "never", "--budget-kb", "4")
    assert sentence in refusal(capsys, "search.py", *given, "--storage", bench.storage)
    assert not bench.run("never").exists()
