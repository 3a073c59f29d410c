"""Frames of a stream: those that the front end gives of the whole, whatever the pieces."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asc.audio.audio_file import resampled
from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.config.experiment import FrontEnd
from asc.inference.listening import Listener

FRONT_END = FrontEnd(sample_rate_hz=8000, dft_points=512, mel_bands=16)
LONG = FrontEnd(sample_rate_hz=8000, window_s=0.06, hop_s=0.0125, dft_points=1024, mel_bands=16)


def noise(samples: int) -> NDArray[np.float32]:
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, samples).astype(np.float32)
    sound[0] = 0.5  # the highest peak comes first, so that rounding is the same in all pieces
    return sound


def frames_of(listener: Listener, sound: NDArray[np.float32], steps: list[int]) -> torch.Tensor:
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
def test_frames_in_steps_are_those_of_the_whole(front_end: FrontEnd, rate_hz: int, step: float) -> None:
    sound, log_mel = noise(round(2.6 * rate_hz)), LogMel(front_end)
    steps = [round(number * step * rate_hz) for number in range(1, int(2.6 / step) + 1)]
    listener = Listener(log_mel, rate_hz, steps=100)
    found = frames_of(listener, sound, steps)
    whole = quantise(resampled(sound[: steps[-1]], rate_hz, 8000)).samples
    expected = log_mel.log_mel(torch.from_numpy(whole)[None])[0, 0]
    assert found.shape == expected.shape
    # A sample on the edge between two of 16 bits may fall on either, by the last bit of a filter's sum.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if rate_hz == 8000 else 5e-3)


def test_little_is_kept_and_little_is_computed_twice() -> None:
    listener = Listener(LogMel(FRONT_END), 8000, steps=10)
    for second in range(1, 6):
        listener.feed(noise(8000))
        first, frames = listener.frames(8000 * second)
        assert first >= 100 * (second - 1) - 2 and first + frames.shape[1] == 100 * second
    listener.feed(np.zeros(0, np.float32))
    assert len(listener._sound) < 1000


def test_peaks_are_forgotten_with_their_steps() -> None:
    quiet = noise(8000)[1:4001] * 1e-4
    loud = np.concatenate([noise(4000), quiet, quiet, quiet])
    alone = Listener(LogMel(FRONT_END), 8000, steps=2)
    after = Listener(LogMel(FRONT_END), 8000, steps=2)
    steps = [4000, 8000, 12_000, 16_000]
    found, expected = frames_of(after, loud, steps), frames_of(alone, np.tile(quiet, 4), steps)
    torch.testing.assert_close(found[:, 155:], expected[:, 155:], rtol=0, atol=1e-3)
    assert (found[:, 60:95] - expected[:, 60:95]).abs().max() > 0.1, (
        "16 bits of a loud peak are coarse for quiet sounds"
    )


def test_less_than_one_frame_is_none() -> None:
    listener = Listener(LogMel(FRONT_END), 8000, steps=2)
    listener.feed(noise(50))
    first, frames = listener.frames(50)
    assert first == 0 and frames.shape == (16, 0)
