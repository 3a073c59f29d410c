"""The arena on random networks and hand-made cases: no overlaps, and gaps are reused."""

import random

import pytest

from asc.config.architecture import Architecture
from asc.config.experiment import Compression, Experiment
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment, recipe_names
from asc.size.activations import Step, Tensor, activation_steps
from asc.size.arena import ALIGNMENT, arena


def drawn(rng):
    depths = tuple(rng.randint(1, 3) for _ in range(rng.randint(1, 3)))
    blocks = sum(depths)
    return Architecture(
        widths=tuple(4 * rng.randint(1, 9) for _ in depths),
        depths=depths,
        se_bottlenecks=tuple(rng.randint(1, 5) for _ in depths),
        frequency_strides=tuple(rng.randint(1, 3) for _ in range(blocks)),
        time_strides=tuple(rng.randint(1, 3) for _ in range(blocks)),
        classes=rng.randint(2, 12),
    )


def assert_sound(steps):
    planned = arena(steps)
    offsets = {placed.tensor: placed.offset for placed in planned.placed}
    peak = max(step.live_bytes for step in steps)
    for step in steps:
        spans = sorted((offsets[tensor], offsets[tensor] + tensor.size_bytes) for tensor in step.live)
        assert all(before[1] <= behind[0] for before, behind in zip(spans, spans[1:], strict=False)), step.name
        assert spans[0][0] >= 0 and spans[-1][1] <= planned.size_bytes
    assert all(offset % ALIGNMENT == 0 for offset in offsets.values())
    assert planned.size_bytes >= peak
    return planned.size_bytes / peak


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_tensors_live_at_the_same_time_do_not_overlap(storage):
    rng = random.Random(storage)
    for _ in range(30):
        front_end = FrontEnd(mel_bands=rng.randint(8, 64))
        seconds = rng.choice([0.03, 0.5, 1.0])
        assert_sound(
            activation_steps(
                Experiment(architecture=drawn(rng), front_end=front_end, compression=Compression(storage=storage)),
                seconds=seconds,
            )
        )


@pytest.mark.parametrize("name", recipe_names())
def test_the_arena_of_a_recipe_is_within_1_percent_of_its_lower_bound(name):
    experiment = load_experiment(name)
    steps = activation_steps(experiment)
    assert assert_sound(steps) < 1.01


def tensors(*lives):
    """Build tensors from (bytes, first step, last step), and the steps at which they are live."""
    all_tensors = [Tensor(str(number), (size,), 1, first, last) for number, (size, first, last) in enumerate(lives)]
    count = 1 + max(tensor.last for tensor in all_tensors)
    steps = [Step(str(number), tuple(t for t in all_tensors if t.first <= number <= t.last)) for number in range(count)]
    return steps, all_tensors


def test_a_tensor_goes_into_the_smallest_gap_that_holds_it():
    # 400 bytes at the bottom, 320 above them. Freeing the 400 leaves a gap below the 320 that stay.
    steps, (low, high, small, other) = tensors((400, 0, 1), (320, 1, 3), (160, 2, 3), (240, 3, 3))
    offsets = {placed.tensor: placed.offset for placed in arena(steps).placed}
    assert offsets == {low: 0, high: 400, other: 0, small: 240}
    assert arena(steps).size_bytes == 720 == max(step.live_bytes for step in steps)


def test_offsets_are_aligned_even_if_sizes_are_not():
    steps, (one, two) = tensors((33, 0, 0), (7, 0, 0))
    assert {placed.tensor: placed.offset for placed in arena(steps).placed} == {one: 0, two: 48}
    assert arena(steps).size_bytes == 55
