"""The predicted disk use of a search, compared with real trainings; tests/launch measures a whole search."""

import dataclasses
from pathlib import Path

import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space_file import load_space, parse_space
from asc.data.dataset import Dataset, open_dataset
from asc.data.manifest import load_manifest
from asc.data.store import store_size
from asc.errors import InputError
from asc.search.disk import Need, check_room, describe, need
from asc.search.plan import SearchPlan, pack, plan_search
from asc.search.preview import preview
from asc.search.repair import Budget
from asc.search.settings import SearchSettings
from asc.size.rules import rule
from asc.training.train import train
from asc.training_results import EpochMetrics, Signal

ONE_NETWORK = """schema = 1
[parameters]
"compression.storage" = { choices = ["int8"] }
"compression.prune_ratio" = { choices = [0.5] }
"schedule.learning_rate_max" = { low = 1e-3, high = 1e-2 }
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, tiny_csv: Path, tiny_experiment: Experiment) -> SearchPlan:
    """A search of one trial; every point of its space has the same network, 50 % pruned."""
    recipe = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    recipe.write_text(tiny_experiment.to_toml())
    settings = SearchSettings(
        budget_kb=128,
        rule="dcase2021",
        recipe=str(recipe),
        data=f"csv:{tiny_csv}",
        fold=1,
        data_seed=0,
        seed=0,
        trials=1,
        max_concurrent=1,
        cpus_per_trial=1,
        mlflow_uri="none",
    )
    return plan_search(settings, parse_space(ONE_NETWORK, source="test", name="one"))


def other(made: SearchPlan, **settings: object) -> SearchPlan:
    return dataclasses.replace(made, settings=dataclasses.replace(made.settings, **settings))


def test_a_training_takes_the_predicted_space(
    tmp_path: Path, planned: SearchPlan, tiny_dataset: Dataset, tiny_experiment: Experiment
) -> None:
    folder, most = tmp_path / "trial", 0
    experiment = tiny_experiment.updated({"compression.prune_ratio": 0.5})

    def report(metrics: EpochMetrics) -> Signal:
        nonlocal most
        files = {path.name: path.stat().st_size for path in folder.iterdir()}
        # A new checkpoint is written before it replaces the old one.
        most = max(most, sum(files.values()) + files["last.safetensors"])
        return Signal.CONTINUE

    train(experiment, tiny_dataset, folder=folder, on_epoch=report, device=torch.device("cpu"))
    model = (folder / "model.safetensors").stat().st_size
    one, two = need(planned, tmp_path), need(other(planned, trials=2), tmp_path)
    checkpoints = 2 * one.running_bytes - two.running_bytes  # a waiting trial has no checkpoints
    assert most <= checkpoints <= 2 * (most + model)
    assert model < two.kept_bytes - one.kept_bytes


def test_trials_that_pause_keep_their_checkpoints(tmp_path: Path, planned: SearchPlan) -> None:
    found = {
        (asha, trials): need(other(planned, asha=asha, trials=trials, max_concurrent=1), tmp_path).running_bytes
        for asha in ("stopping", "promotion")
        for trials in (10, 20)
    }
    waiting = [found["promotion", trials] - found["stopping", trials] for trials in (10, 20)]
    at_a_time = 2 * found["stopping", 10] - found["stopping", 20]
    assert waiting[1] == 2 * waiting[0] and 0.5 * at_a_time < waiting[0] / 10 < at_a_time
    pausing = other(planned, asha="promotion", trials=10)
    said = describe(need(pausing, tmp_path), pausing, cache=Path("/cache"), storage="runs")
    assert "(checkpoints of up to 10 trials, which pause)" in said


def test_ended_trials_need_no_more_space_and_an_mlflow_server_needs_none_here(
    tmp_path: Path, planned: SearchPlan
) -> None:
    few = need(planned, tmp_path)
    assert need(other(planned, trials=101), tmp_path, ended=100) == few
    assert need(other(planned, mlflow_uri="http://host"), tmp_path) == few
    assert need(other(planned, mlflow_uri=None), tmp_path).kept_bytes > few.kept_bytes + 1e6


def test_finals_need_the_space_of_trials_with_their_schedule_until_they_have_ended(
    tmp_path: Path, planned: SearchPlan
) -> None:
    alone = need(planned, tmp_path)
    schedule = planned.base.schedule
    same = {"final_cycles": schedule.cycles, "final_epochs": schedule.epochs_per_cycle}
    finals = other(planned, final_top=1, final_seeds=2, **same)
    found, three = need(finals, tmp_path), need(other(planned, trials=3), tmp_path)
    # The report page draws each trial and not each final: some 2 KB of the kept megabytes.
    assert alone.kept_bytes < found.kept_bytes == pytest.approx(three.kept_bytes, rel=2e-3)
    assert found.running_bytes == three.running_bytes, "one at a time"
    assert need(finals, tmp_path, ended_finals=2) == alone
    longer = need(other(planned, final_top=1, final_seeds=2, final_cycles=2, final_epochs=500), tmp_path)
    assert longer.kept_bytes > found.kept_bytes + 2 * 900 * 300 and longer.running_bytes > found.running_bytes
    said = describe(found, finals, cache=Path("/cache"), storage="runs")
    assert "(a model of each trial and final, journal, tracking)" in said


def test_teachers_and_soft_labels_need_space(tmp_path: Path, planned: SearchPlan) -> None:
    finals = {"final_top": 1, "final_seeds": 3, "final_cycles": 2, "final_epochs": 5}
    alone, distilled = (need(other(planned, **finals, distil=distil), tmp_path) for distil in (False, True))
    rows = 4 * len(planned.manifest.clips) * len(planned.manifest.labels)
    assert 3 * rows < distilled.kept_bytes - alone.kept_bytes < 30 * rows + 100_000
    assert distilled.running_bytes == alone.running_bytes
    larger = need(other(planned, **finals, distil=True, teacher_kb=4 * planned.settings.budget_kb), tmp_path)
    assert larger.running_bytes > distilled.running_bytes and larger.kept_bytes > distilled.kept_bytes


def test_packed_audio_takes_the_predicted_space_once(tmp_path: Path, tiny_csv: Path) -> None:
    manifest = load_manifest(DataChoice(f"csv:{tiny_csv}"))
    before = store_size(manifest, sample_rate_hz=8000, cache=tmp_path)
    assert not before.there
    open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=8000, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    taken = sum(path.stat().st_size for path in folder.iterdir())
    assert taken <= before.size_bytes < 1.01 * taken
    assert store_size(manifest, sample_rate_hz=8000, cache=tmp_path) == dataclasses.replace(before, there=True)


def test_the_description_names_the_folders_and_says_if_audio_is_already_packed(planned: SearchPlan) -> None:
    made = other(planned, max_concurrent=2)
    found = Need(
        audio_bytes=2_000_000,
        packed_bytes=0,
        rates_to_pack=(8000,),
        running_bytes=3_000_000,
        kept_bytes=4_000_000_000,
    )
    said = describe(found, made, cache=Path("/cache"), storage="s3://bucket/x")
    assert said == (
        "disk: at most 4.0 GB: 2.0 MB of packed audio in /cache, 3.0 MB while it runs (checkpoints of 2 trials at a "
        "time) and 4.0 GB kept in s3://bucket/x (a model of each trial, journal, tracking)"
    )
    there = dataclasses.replace(found, packed_bytes=2_000_000, rates_to_pack=(), kept_bytes=1_000_000)
    said = describe(there, made, cache=Path("/cache"), storage="runs")
    assert said.startswith("disk: at most 4.0 MB: 3.0 MB while")
    assert said.endswith("; the 2.0 MB of audio in /cache are packed already")


def test_too_little_space_is_an_error_with_folder_and_sizes(tmp_path: Path) -> None:
    little = Need(audio_bytes=1, packed_bytes=0, rates_to_pack=(8000,), running_bytes=1, kept_bytes=1)
    check_room(little, cache=tmp_path, storage=tmp_path)
    audio = dataclasses.replace(little, audio_bytes=10**18)
    with pytest.raises(InputError, match=r"needs up to 1000000000.0 GB, but .* has .* free: make room there"):
        check_room(audio, cache=tmp_path / "not" / "yet", storage=tmp_path)
    there = dataclasses.replace(audio, packed_bytes=10**18, rates_to_pack=())
    check_room(there, cache=tmp_path, storage=tmp_path)


def test_each_sample_rate_that_may_be_drawn_needs_a_store_until_it_is_packed(
    tmp_path: Path, planned: SearchPlan, tiny_csv: Path
) -> None:
    text = ONE_NETWORK + '"front_end.sample_rate_hz" = { choices = [8000, 6000] }\n'
    made = dataclasses.replace(planned, space=parse_space(text, source="test", name="two"))
    empty = need(made, tmp_path)
    assert empty.rates_to_pack == (8000, 6000) and empty.packed_bytes == 0
    said = describe(empty, made, cache=Path("/cache"), storage="runs")
    assert "of packed audio at 2 sample rates in /cache, " in said and "already" not in said
    open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=8000, cache=tmp_path)
    half = need(made, tmp_path)
    assert half.rates_to_pack == (6000,) and half.total_bytes == empty.total_bytes - half.packed_bytes
    assert half.unpacked_bytes == pytest.approx(half.packed_bytes * 6 / 8, rel=0.05)
    said = describe(half, made, cache=Path("/cache"), storage="runs")
    assert "of packed audio" in said and said.endswith("of audio in /cache are packed already")
    pack(made, tmp_path, lambda done, total: None)
    assert need(made, tmp_path).rates_to_pack == () and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("classes", "kilobytes", "share"), [(5, 1.0, 0.02), (2, 0.95, 0.05)])
def test_the_space_is_predicted_even_if_very_few_points_fit_the_budget(
    tmp_path: Path, planned: SearchPlan, classes: int, kilobytes: float, share: float
) -> None:
    space, budget = load_space("quick"), Budget(rule=rule("dcase2021"), kilobytes=kilobytes)
    base = load_experiment("qat_8b").updated({**space.settings, "architecture.classes": classes})
    found = preview(base, space, budget)
    assert 0 < found.repairable_share < share, "a hundred draws may have none that fits"
    tight = dataclasses.replace(planned, space=space, budget=budget, base=base, preview=found)
    assert 0 < need(tight, tmp_path).kept_bytes < need(planned, tmp_path).kept_bytes + 20_000_000
