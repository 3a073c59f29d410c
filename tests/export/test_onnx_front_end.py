"""The front end as ONNX nodes, compared with `LogMel` and with a DFT in double precision."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.config.front_end import FrontEnd
from asc.export.onnx import OnnxSession
from asc.export.onnx_front_end import add_front_end
from asc.export.onnx_graph import Graph

FRONT_ENDS = {
    "reference": FrontEnd(),
    "tiny": FrontEnd(sample_rate_hz=8000, dft_points=256, mel_bands=16),
    "prime DFT, odd rate": FrontEnd(sample_rate_hz=11_025, dft_points=509, mel_bands=20),
    "odd DFT": FrontEnd(sample_rate_hz=8000, dft_points=375, mel_bands=16),
    "DFT of odd columns": FrontEnd(sample_rate_hz=22_051, window_s=0.04, dft_points=1250, mel_bands=40),
    "window as long as the DFT": FrontEnd(sample_rate_hz=16_000, dft_points=480, mel_bands=40),
    "odd window and hop": FrontEnd(sample_rate_hz=16_000, window_s=0.0333, hop_s=0.0071, dft_points=1000, mel_bands=64),
    "hop longer than the window": FrontEnd(
        sample_rate_hz=8000, window_s=0.01, hop_s=0.017, dft_points=128, mel_bands=8
    ),
    "noise floor": FrontEnd(sample_rate_hz=8000, dft_points=256, mel_bands=16, noise_steps=2.0),
    "reference with a noise floor": FrontEnd(noise_steps=4.0),
    "noise floor, DFT of odd columns": FrontEnd(
        sample_rate_hz=22_051, window_s=0.04, dft_points=1250, mel_bands=40, noise_steps=8.0
    ),
    "HTK mel, no normalisation": FrontEnd(
        sample_rate_hz=32_000,
        window_s=0.096,
        hop_s=0.015625,
        mel_bands=256,
        mel_scale="htk",
        normalisation="none",
    ),
    "residual normalisation": FrontEnd(
        sample_rate_hz=8000, dft_points=256, mel_bands=16, normalisation="residual", residual_lambda=0.25
    ),
    "standardised by the network": FrontEnd(
        sample_rate_hz=8000, dft_points=256, mel_bands=16, normalisation="per_band"
    ),
    "lowest rate": FrontEnd(sample_rate_hz=1000, dft_points=30, mel_bands=8),
}


def session(front_end: FrontEnd) -> OnnxSession:
    graph = Graph()
    graph.node("Identity", add_front_end(graph, front_end, "waveform"), output="logits")
    shapes = {"waveform": ("batch", "samples")}, {"logits": ("batch", 1, front_end.mel_bands, "frames")}
    return OnnxSession(graph.model(*shapes, opset=13, metadata={}, compact=True).SerializeToString())


def waves(front_end: FrontEnd, clips: int, seconds: float) -> torch.Tensor:
    """Noise with a silent part in the first clip and a very quiet last clip, (clips, samples) float32."""
    samples = int(seconds * front_end.sample_rate_hz)
    noise = 0.05 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(clips))
    noise[0, samples // 3 : samples // 2] = 0
    noise[-1] *= 1e-3
    return noise


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_log_mel_equals_that_of_our_front_end(name: str) -> None:
    front_end = FRONT_ENDS[name]
    built, ours = session(front_end), LogMel(front_end)
    # torchaudio's HTK filters are off by up to 1.6e-5, which shows in bands of one or two bins.
    off = 1e-3 if front_end.mel_scale == "htk" else 3e-5
    for clips, seconds in ((3, 0.7), (1, 0.1234), (2, front_end.hop_s * 1.5)):
        x = waves(front_end, clips, seconds)
        expected = ours(torch.stack([torch.from_numpy(quantise(row.numpy()).samples) for row in x])).numpy()
        found = built.logits(x.numpy())
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=off)


def in_double(front_end: FrontEnd, wave: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-mel (bands, frames) of a wave (samples,), natural log, mean removed, by numpy with our mel filters."""
    sizes, hop = (front_end.window_samples, front_end.dft_points), front_end.hop_samples
    before = sizes[1] // 2 - (sizes[1] - sizes[0]) // 2
    padded = np.pad(wave.astype(np.float64), (before, sizes[0]))
    frames = np.stack([padded[start : start + sizes[0]] for start in range(0, len(wave) // hop * hop, hop)])
    window = np.hanning(sizes[0] + 1)[:-1]
    magnitudes = np.abs(np.fft.rfft(frames * window, sizes[1]))
    filters = LogMel(front_end).get_buffer("filters").numpy().astype(np.float64)
    log_mel = np.log(magnitudes @ filters + front_end.log_offset).T
    return log_mel - log_mel.mean(axis=1, keepdims=True)


def test_quiet_bands_beside_loud_ones_are_as_exact_as_in_our_front_end() -> None:
    front_end = FrontEnd()
    time_s = np.arange(22_050) / front_end.sample_rate_hz
    wave = (0.9 * np.sin(2 * np.pi * 300 * time_s * (1 + 0.1 * time_s))).astype(np.float32)
    # Noise at the level of 16-bit rounding: anything below it is inaudible.
    wave += np.random.default_rng(0).normal(0, 2**-16, len(wave)).astype(np.float32)
    wave = quantise(wave).samples
    truth = in_double(front_end, wave)
    found = np.abs(session(front_end).logits(wave[None])[0, 0] - truth)
    ours = np.abs(LogMel(front_end)(torch.from_numpy(wave[None])).numpy()[0, 0] - truth)
    assert truth.std() > 0.1
    assert found.mean() < 1.5 * ours.mean()
    assert found.max() < 4 * ours.max()
