"""The gate with hand-written logits, and its latency measurement with counted calls."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import trained

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.gate import Allowed, agreement, allowed, latency

STEP = 0.25
ONE, TWO = Allowed(step=STEP, limit_steps=1), Allowed(step=STEP, limit_steps=2)


def logits(*rows: list[float]) -> np.ndarray:
    """Logits given in steps, as (rows, classes) float32."""
    return np.array(rows, dtype=np.float32) * np.float32(STEP)


def test_equal_logits_agree() -> None:
    stored = logits([3, 1, -2], [0, 5, 4])
    found = agreement(stored.copy(), stored, ONE)
    assert found.passed and found.why_not is None
    assert (found.clips, found.differing_share, found.largest_steps, found.argmax_differs) == (2, 0.0, 0.0, 0)


def test_one_step_is_allowed_and_counted() -> None:
    found = agreement(logits([3, 2, -2], [0, 5, 4]), logits([3, 1, -2], [0, 5, 4]), ONE)
    assert found.passed
    assert (found.differing_share, found.largest_steps, found.argmax_differs) == (1 / 6, 1.0, 0)


def test_two_steps_are_refused() -> None:
    found = agreement(logits([3, 3, -2]), logits([3, 1, -2]), ONE)
    assert found.why_not == "a logit is 2.0 steps off, 1 are allowed"


@pytest.mark.parametrize(
    ("found", "stored", "excused"),
    [([9, 10], [10, 9], 1), ([9, 9, 0], [8, 10, 0], 1), ([10, 9], [8, 10], 1), ([8, 10], [10, 8], 0)],
)
def test_another_label_is_excused_if_the_top_two_are_within_a_step_in_either_network(
    found: list[float], stored: list[float], excused: int
) -> None:
    compared = agreement(logits(found), logits(stored), TWO)
    assert (compared.argmax_differs, compared.argmax_excused) == (1, excused)
    assert compared.passed == bool(excused)
    if not excused:
        assert compared.why_not == "of 1 clips 1 have another label though their top two are over a step apart"


@given(st.lists(st.tuples(st.integers(-120, 120), st.integers(-1, 1)), min_size=2, max_size=8))
def test_logits_within_a_step_always_agree(pairs: list[tuple[int, int]]) -> None:
    stored = logits([step for step, _ in pairs])
    assert agreement(stored + logits([off for _, off in pairs]), stored, ONE).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_refused(value: float) -> None:
    assert agreement(logits([value, 1]), logits([2, 1]), ONE).why_not == ("a logit is not a finite number")


def test_other_shapes_and_no_clips_cannot_be_compared() -> None:
    for found, stored in ((logits([1, 2]), logits([1, 2, 3])), (np.zeros((0, 3)), np.zeros((0, 3)))):
        with pytest.raises(ValueError, match="compared"):
            agreement(found, stored, ONE)


def test_a_step_is_the_output_scale_and_waveform_exports_may_be_two_off(
    tiny_experiment: Experiment, tiny_dataset: Dataset
) -> None:
    integer = trained(tiny_experiment, tiny_dataset, storage="int8", steps=4)
    quantum = float(integer.dense.output.scale)
    for source, limit_steps in (("log_mel", 1), ("waveform", 2)):
        assert allowed(integer, logits([1]), source=source) == Allowed(step=quantum, limit_steps=limit_steps)


def test_the_float16_tolerance_detects_weights_wrong_in_their_last_bits(
    tiny_experiment: Experiment, tiny_dataset: Dataset
) -> None:
    half = trained(tiny_experiment, tiny_dataset, storage="float16", steps=4)
    log_mel = torch.randn(8, 1, 16, 40, generator=torch.Generator().manual_seed(0)) * 3
    stored = half(log_mel).numpy()
    limits = allowed(half, stored, source="log_mel")
    assert limits == Allowed(step=pytest.approx(1e-4 * max(1.0, np.abs(stored).max())), limit_steps=1)
    assert agreement(half.double()(log_mel.double()).float().numpy(), stored, limits).passed, (
        "other arithmetic is allowed"
    )
    half.float().stem.weight.mul_(1 + 2**-9)
    assert not agreement(half(log_mel).numpy(), stored, limits).passed


def test_latency_alternates_both_calls_and_ignores_the_first() -> None:
    calls: list[str] = []
    found = latency(lambda: calls.append("run"), lambda: calls.append("reference"), seconds=2.0, repeats=3)
    assert calls == ["run", "reference"] * 4
    assert found.seconds_of_audio == 2.0 and found.milliseconds > 0
    assert found.ratio == found.milliseconds / found.torch_float_milliseconds
