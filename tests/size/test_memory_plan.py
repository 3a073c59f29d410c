"""The memory plan that launch/size.py prints and writes as JSON."""

import io

import pytest
from rich.console import Console

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.size.law import cost, macs
from asc.size.memory_plan import memory_plan, plan_json, plan_tables, plan_text


def printed(renderable):
    console = Console(file=io.StringIO(), width=80)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("recipe", ["qat_8b", "16b_prune"])
def test_the_plan_agrees_with_the_size_law(recipe):
    experiment = load_experiment(recipe)
    size, plan = cost(experiment, seconds=2.0), memory_plan(experiment, seconds=2.0)
    assert plan.flash_bytes == size.stored.size_bytes
    assert plan.macs == macs(experiment, seconds=2.0)
    assert plan.peak.live_bytes == size.peak_activation_bytes


def test_the_tables_show_full_tensor_names_on_a_narrow_terminal():
    plan = memory_plan(load_experiment("qat_8b"), seconds=1.0)
    steps, placed, _ = map(printed, plan_tables(plan))
    names = {placed.tensor.name for placed in plan.arena.placed}
    assert len(names) == len(plan.steps) + 1
    for name in names:
        assert name in steps and name in placed
    marked = [line for line in steps.splitlines() if "peak:" in line]
    assert len(marked) == 1 and plan.peak.name in marked[0] and f"{plan.peak.live_bytes:,}" in marked[0]
    assert f"{plan.arena.size_bytes:,}" in placed


def test_the_json_has_every_step_and_every_tensor_offset(tiny_experiment: Experiment):
    answer = plan_json(memory_plan(tiny_experiment, seconds=1.0))
    tensors = {tensor["name"]: tensor for tensor in answer["tensors"]}
    for number, step in enumerate(answer["steps"]):
        assert step["live_bytes"] == sum(tensors[name]["bytes"] for name in step["live"])
        assert all(tensors[name]["first"] <= number <= tensors[name]["last"] for name in step["live"])
    assert answer["peak_bytes"] == max(step["live_bytes"] for step in answer["steps"]) <= answer["arena_bytes"]
    assert answer["arena_bytes"] == max(tensor["offset"] + tensor["bytes"] for tensor in tensors.values())


def test_the_summary_gives_flash_macs_and_peak():
    plan = memory_plan(load_experiment("qat_8b"), seconds=10.0)
    assert "127,944 bytes of flash, 494.2 MMAC, peak 6,144,096 bytes of activations" in plan_text(plan)


def test_needs_cover_the_given_clip_a_shorter_clip_and_a_stream():
    plan = memory_plan(load_experiment("qat_8b"), seconds=10.0)
    ten, one, stream = plan.needs
    assert (ten.peak_bytes, ten.arena_bytes, ten.kept_bytes) == (plan.peak.live_bytes, plan.arena.size_bytes, 0)
    assert one == memory_plan(load_experiment("qat_8b"), seconds=1.0).needs[0]
    assert one.peak_bytes < stream.peak_bytes < ten.peak_bytes and stream.kept_bytes > 0
    text = printed(plan_tables(plan)[2])
    assert all(need.name in text and f"{need.arena_bytes:,}" in text for need in plan.needs)
    assert [need["name"] for need in plan_json(plan)["needs"]] == [need.name for need in plan.needs]


def test_a_one_second_clip_is_not_listed_twice():
    names = [need.name for need in memory_plan(load_experiment("qat_8b"), seconds=1.0).needs]
    assert len(names) == 2 and names[0] == "a clip of 1 s"
