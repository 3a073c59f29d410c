"""Frames of a stream equal the front end's frames of the whole sound, however it is divided."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.audio.sound import resampled
from asc.config.front_end import FrontEnd
from asc.inference.listening import Listener

FRONT_END = FrontEnd(sample_rate_hz=8000, dft_points=512, mel_bands=16)
LONG = FrontEnd(sample_rate_hz=8000, window_s=0.06, hop_s=0.0125, dft_points=1024, mel_bands=16)


def noise(samples: int) -> NDArray[np.float32]:
    """Uniform noise, shape (samples,), full scale 1."""
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, samples).astype(np.float32)
    sound[0] = 0.5  # the highest peak comes first, so that every piece is rounded with the same step
    return sound


def frames_of(listener: Listener, sound: NDArray[np.float32], steps: list[int]) -> torch.Tensor:
    """Feed `sound` up to each sample index in `steps`; return all frames, (16 bands, frames)."""
    frames, heard = torch.zeros(16, 0), 0
    for step in steps:
        listener.feed(sound[heard:step])
        assert listener.heard == step
        heard = step
        first, new = listener.frames(step)
        frames = torch.cat([frames[:, :first], new], dim=1)
    return frames


@pytest.mark.parametrize("front_end", [FRONT_END, LONG])
@pytest.mark.parametrize("rate_hz", [8000, 11_025, 48_000, 4000, 7_999])
@pytest.mark.parametrize("step", [0.1, 0.25, 1.0])
def test_frames_in_steps_equal_those_of_the_whole_sound(front_end: FrontEnd, rate_hz: int, step: float) -> None:
    sound, log_mel = noise(round(2.6 * rate_hz)), LogMel(front_end)
    steps = [round(number * step * rate_hz) for number in range(1, int(2.6 / step) + 1)]
    listener = Listener(log_mel, rate_hz, steps=100)
    found = frames_of(listener, sound, steps)
    whole = quantise(resampled(sound[: steps[-1]], rate_hz, 8000)).samples
    expected = log_mel.log_mel(torch.from_numpy(whole)[None])[0, 0]
    assert found.shape == expected.shape
    # Resampling may differ in the last bit, so a sample halfway between two 16-bit values may round either way.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if rate_hz == 8000 else 5e-3)


def test_few_samples_are_kept_and_few_frames_are_computed_twice() -> None:
    listener = Listener(LogMel(FRONT_END), 8000, steps=10)
    for second in range(1, 6):
        listener.feed(noise(8000))
        first, frames = listener.frames(8000 * second)
        assert first >= 100 * (second - 1) - 2 and first + frames.shape[1] == 100 * second
    listener.feed(np.zeros(0, np.float32))
    assert len(listener._sound) < 1000


def test_a_peak_is_forgotten_when_its_step_leaves_the_window() -> None:
    quiet = noise(8000)[1:4001] * 1e-4
    loud = np.concatenate([noise(4000), quiet, quiet, quiet])
    alone = Listener(LogMel(FRONT_END), 8000, steps=2)
    after = Listener(LogMel(FRONT_END), 8000, steps=2)
    steps = [4000, 8000, 12_000, 16_000]
    found, expected = frames_of(after, loud, steps), frames_of(alone, np.tile(quiet, 4), steps)
    torch.testing.assert_close(found[:, 155:], expected[:, 155:], rtol=0, atol=1e-3)
    assert (found[:, 60:95] - expected[:, 60:95]).abs().max() > 0.1, (
        "16 bits scaled to a loud peak are coarse for quiet sounds"
    )


def test_less_than_one_frame_of_sound_gives_no_frames() -> None:
    listener = Listener(LogMel(FRONT_END), 8000, steps=2)
    listener.feed(noise(50))
    first, frames = listener.frames(50)
    assert first == 0 and frames.shape == (16, 0)
