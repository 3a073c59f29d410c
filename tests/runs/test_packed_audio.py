"""Packed audio is unused only if no run has its data at its rate."""

from pathlib import Path

import pytest
from journals import asked_of

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import open_dataset
from asc.runs.events import RunStarted
from asc.runs.journal import Journal
from asc.runs.listing import records_of
from asc.runs.packed_audio import remove, usage

RATES_HZ = (8000, 6000)


@pytest.fixture
def cache(tmp_path: Path, tiny_csv: Path) -> Path:
    """The tiny set, packed at two rates."""
    folder = tmp_path / "cache"
    for rate_hz in RATES_HZ:
        open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=rate_hz, cache=folder)
    (folder / "notes").mkdir()
    return folder


def run(storage: Path, name: str, data: str, experiment: Experiment) -> None:
    journal = Journal(storage / name / "journal.jsonl")
    journal.append(RunStarted(name=name, kind="train", settings={"data": data}))
    journal.append(asked_of("t000", experiment))
    journal.close()


def test_only_what_no_run_uses_is_removed(
    tmp_path: Path, tiny_csv: Path, tiny_experiment: Experiment, cache: Path
) -> None:
    run(tmp_path, "mine", f"csv:{tiny_csv}", tiny_experiment)
    found = usage(cache, records_of(tmp_path))
    assert {one.used_by for one in found.packed} == {("mine",), ()} and found.unknown == ()
    (unused,) = found.unused
    assert unused.size_bytes == sum(path.stat().st_size for path in unused.folder.iterdir())
    remove(unused)
    (left,) = usage(cache, records_of(tmp_path)).packed
    assert left.used_by == ("mine",) and not unused.folder.exists() and (cache / "notes").is_dir()
    before = left.folder.stat().st_mtime_ns
    dataset = open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=RATES_HZ[0], cache=cache)
    assert len(dataset.waveform(int(dataset.indices("train")[0]))) > 0
    assert left.folder.stat().st_mtime_ns == before, "it need not be packed again"


def test_a_run_whose_data_are_gone_is_named(
    tmp_path: Path, tiny_csv: Path, tiny_experiment: Experiment, cache: Path
) -> None:
    run(tmp_path, "lost", f"csv:{tmp_path / 'gone.csv'}", tiny_experiment)
    found = usage(cache, records_of(tmp_path))
    assert len(found.unused) == len(RATES_HZ)
    (said,) = found.unknown
    assert said.startswith("lost: its data cannot be read") and "gone.csv" in said


def test_a_search_uses_every_rate_of_its_space_and_its_reference(
    tmp_path: Path, tiny_csv: Path, tiny_experiment: Experiment, cache: Path
) -> None:
    space = 'mine\nschema = 1\n[parameters]\n"front_end.sample_rate_hz" = { choices = [6000, 16000] }\n'
    started = RunStarted(
        name="new",
        kind="search",
        settings={"data": f"csv:{tiny_csv}"},
        space=space,
        reference=tiny_experiment.flat(),
    )
    Journal(tmp_path / "new" / "journal.jsonl").append(started)
    found = usage(cache, records_of(tmp_path))
    assert found.unused == () and {one.used_by for one in found.packed} == {("new",)}
