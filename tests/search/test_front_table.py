"""The Pareto front of a search: which networks it has, what is printed of them, and what the early stopping leaves."""

import io
from pathlib import Path

import pytest
from formula_workers import conductor, run_out, work
from rich.console import Console

from asc.run_files import BUCKET_NOTE
from asc.runs.record import fold
from asc.search.conductor import Conductor
from asc.search.front_table import OnFront, front_json, front_of, table
from asc.size.rules import rule

AIMS = ("log_loss", "bytes")


def found(lead: Conductor) -> tuple[OnFront, ...]:
    return front_of(lead.record, AIMS, rule("dcase2021"))


def test_the_front_has_each_completed_network_that_no_other_beats_in_all(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 30, objectives="log_loss,bytes")
    run_out(lead)
    front = found(lead)
    completed = {
        trial.asked.trial: (trial.ended.log_loss, trial.asked.nonzero_bytes)
        for trial in lead.record.completed()
        if trial.ended is not None and trial.ended.log_loss is not None
    }
    assert front[0].trial == lead.record.completed()[0].asked.trial, "the best comes first"
    assert len(front) > 3 and {one.trial for one in front} <= set(completed)
    for one in front:
        assert not any(
            loss <= one.log_loss and size < one.counted_bytes or loss < one.log_loss and size <= one.counted_bytes
            for loss, size in completed.values()
        )
    assert front_of(lead.record, ("log_loss",), rule("dcase2021")) == ()


def test_early_stopping_leaves_small_networks_that_one_objective_would_stop(tmp_path: Path) -> None:
    smallest = {}
    for name, changes in {"one": {}, "two": {"objectives": "log_loss,bytes"}}.items():
        lead = conductor(tmp_path / name, 30, **changes)
        run_out(lead)
        front = found(lead)
        smallest[name] = min(one.counted_bytes for one in front)
        outcomes = [trial.ended.outcome for trial in lead.record.trials.values() if trial.ended]
        assert outcomes.count("stopped") >= 7, "early stopping is on"
    assert smallest["two"] < smallest["one"] / 2


@pytest.mark.parametrize("asha", ["stopping", "promotion"])
def test_an_interrupted_search_for_a_front_ends_like_an_uninterrupted_one(tmp_path: Path, asha: str) -> None:
    given = {"objectives": "log_loss,macs,bytes", "asha": asha}
    whole = conductor(tmp_path / "whole", 14, **given)
    run_out(whole)
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    expected = [entry.event for entry in whole.journal.entries]
    for count in range(1, len(lines), 7):
        cut = tmp_path / f"cut{count}"
        cut.mkdir()
        (cut / "journal.jsonl").write_bytes(b"".join(lines[:count]))
        lead = conductor(cut, 14, **given)
        run_out(lead)
        lead.journal.close()
        assert [entry.event for entry in lead.journal.entries] == expected, f"cut after line {count}"


def test_the_table_and_the_json_name_each_model(tmp_path: Path) -> None:
    lead = conductor(tmp_path, 6, objectives="log_loss,bytes")
    first = lead.next_trial("w")
    assert first is not None and found(lead) == ()
    work(lead, "w", first)
    (one,) = front_of(fold(lead.journal.entries), AIMS, rule("dcase2021"))
    console = Console(file=io.StringIO(), width=80)
    console.print(table([one], AIMS))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "The Pareto front of log_loss, bytes" in text and "trials/t000/model.safetensors" in text
    assert f"{one.counted_bytes:,}" in text and f"{one.log_loss:.3f}" in text
    assert front_json(one, Path("/runs/s"))["model"] == "/runs/s/trials/t000/model.safetensors"


def test_the_json_names_a_model_in_the_bucket_of_its_run(tmp_path: Path) -> None:
    lead = conductor(tmp_path / "s", 6, objectives="log_loss,bytes")
    first = lead.next_trial("w")
    assert first is not None
    work(lead, "w", first)
    (tmp_path / "s" / BUCKET_NOTE).write_text("s3://runs/team")
    (one,) = found(lead)
    assert front_json(one, tmp_path / "s")["model"] == "s3://runs/team/s/trials/t000/model.safetensors"


@pytest.mark.parametrize("objectives", ["log_loss,bytes", "log_loss,bytes,macs"])
def test_a_search_by_promotion_trains_as_many_to_their_end_as_there_are_objectives(
    tmp_path: Path, objectives: str
) -> None:
    lead = conductor(tmp_path, 6, objectives=objectives, asha="promotion", reduction_factor=8)
    run_out(lead)
    completed = [trial for trial in lead.record.completed() if not trial.asked.reference]
    assert len(completed) >= objectives.count(",") + 1
    assert not lead.record.unfinished
