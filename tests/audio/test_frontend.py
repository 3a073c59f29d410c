import librosa
import numpy as np
import pytest
import torch

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.config.front_end import FrontEnd
from asc.errors import InputError

RNG_SEED = 20_21


def _librosa_mel(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=front_end.sample_rate_hz,
        power=1,
        htk=False,
        norm=None,
        center=True,
        pad_mode="constant",
        n_fft=front_end.dft_points,
        win_length=front_end.window_samples,
        hop_length=front_end.hop_samples,
        n_mels=front_end.mel_bands,
    )
    return mel[:, : len(waveform) // front_end.hop_samples]


def _log_mel(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    return LogMel(front_end).log_mel(torch.from_numpy(waveform.astype(np.float32))[None])[0, 0].numpy()


def _tones(front_end: FrontEnd, seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * front_end.sample_rate_hz)) / front_end.sample_rate_hz
    return sum(0.05 * np.sin(2 * np.pi * hz * time_s) for hz in (60.0, 440.0, 1000.0, 3000.0))


def _noise(samples: int, level: float) -> np.ndarray:
    return level * np.random.default_rng(RNG_SEED).standard_normal(samples)


FRONT_ENDS = [
    FrontEnd(),
    FrontEnd(sample_rate_hz=16_000, dft_points=1024),
    FrontEnd(sample_rate_hz=11_025, dft_points=1024, mel_bands=64),
    FrontEnd(sample_rate_hz=22_050, dft_points=2047, window_s=0.025),
    FrontEnd(dft_points=1323, mel_bands=40),
]


@pytest.mark.filterwarnings("ignore:At least one mel filterbank", "ignore:Empty filters")
@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"{f.sample_rate_hz}Hz-{f.dft_points}")
@pytest.mark.parametrize("level", [0.003, 0.3])
def test_log_mel_of_noise_and_tones_equals_librosa(front_end, level):
    tones = _tones(front_end, 1.003)
    waveform = tones * level / 0.3 + _noise(len(tones), level)
    expected = np.log(_librosa_mel(waveform, front_end) + front_end.log_offset)
    np.testing.assert_allclose(_log_mel(waveform, front_end), expected, atol=1e-4, rtol=0)


def test_mel_of_pure_tones_equals_librosa():
    # Far from the tones the exact values are below float32's DFT rounding, so logarithms cannot be compared there.
    front_end = FrontEnd()
    waveform = _tones(front_end, 1.0)
    expected = _librosa_mel(waveform, front_end)
    mel = np.exp(_log_mel(waveform, front_end)) - front_end.log_offset
    np.testing.assert_allclose(mel, expected, atol=1e-5 * expected.max(), rtol=0)


def test_silence_gives_the_log_offset_and_zeros():
    log_mel = LogMel(FrontEnd())
    silence = torch.zeros(2, 44_100)
    assert (log_mel(silence) == 0).all()
    np.testing.assert_allclose(log_mel.log_mel(silence).numpy(), np.log(1e-5), rtol=1e-6)


@pytest.mark.parametrize("steps", [0.5, 4.0])
@pytest.mark.parametrize("peak", [1.0, 0.01])
def test_the_noise_floor_is_the_mean_mel_of_white_noise(steps, peak):
    front_end = FrontEnd(noise_steps=steps, log_offset=1e-12)
    silence = torch.zeros(1, 4_410)
    floor = np.exp(LogMel(front_end).log_mel(silence, torch.tensor([peak]))[0, 0].numpy())
    assert (floor == floor[:, :1]).all()
    noise = _librosa_mel(_noise(30 * 44_100, steps * peak / 32_767), front_end)
    np.testing.assert_allclose(floor[:, 0], noise[:, 4:-4].mean(axis=1), rtol=0.06)
    np.testing.assert_allclose(floor[40:, 0], noise[40:, 4:-4].mean(axis=1), rtol=0.03)


def test_the_noise_floor_follows_the_highest_sample_of_each_clip():
    front_end = FrontEnd(noise_steps=2.0)
    waveform = torch.from_numpy(_noise(2 * 22_050, 0.01).astype(np.float32)).view(2, -1)
    waveform[1] *= 1e-3
    log_mel = LogMel(front_end)
    own = log_mel.log_mel(waveform)
    torch.testing.assert_close(log_mel.log_mel(waveform, waveform.abs().amax(dim=1)), own, atol=0, rtol=0)
    mel = LogMel(FrontEnd()).log_mel(waveform).exp()
    floor = own.exp() - mel
    assert (floor >= -1e-6 * mel).all()
    ratio = (floor[1].mean() / floor[0].mean()).item()
    assert ratio == pytest.approx((waveform[1].abs().max() / waveform[0].abs().max()).item(), rel=1e-2)


def test_samples_below_the_last_bit_barely_matter_above_a_noise_floor():
    tone = _tones(FrontEnd(), 1.0)
    tone[22_050:] = 1e-7 * _noise(22_050, 1.0)  # what a decoder leaves in silence
    waveform = tone.astype(np.float32)
    rounded = quantise(waveform).samples
    assert not rounded[22_050:].any()

    def moved(front_end):
        return np.abs(_log_mel(waveform, front_end) - _log_mel(rounded, front_end))[:, 60:]

    assert moved(FrontEnd()).max() > 0.5
    share = 1e-7 / (4.0 * np.abs(waveform).max() / 32_767)  # relative to the floor; both are means of noise
    above_floor = moved(FrontEnd(noise_steps=4.0))
    assert above_floor.mean() == pytest.approx(share, rel=0.05)
    assert above_floor.max() < 5 * share  # noise bins are Rayleigh distributed: 3e-9 of them exceed 5 means


def test_forward_removes_each_clips_mean_over_time():
    log_mel = LogMel(FrontEnd())
    waveform = torch.from_numpy(_noise(3 * 30_000, 0.01).astype(np.float32)).view(3, -1)
    plain = log_mel.log_mel(waveform)
    assert plain.mean(dim=-1).abs().max() > 1
    torch.testing.assert_close(log_mel(waveform), plain - plain.mean(dim=-1, keepdim=True))
    assert log_mel(waveform).mean(dim=-1).abs().max() < 1e-5


def test_a_residual_normalisation_adds_a_share_of_the_input_to_the_standardised_bands():
    """Against the formula of the paper, in double precision; a silent clip, whose variance is 0, stays finite."""
    front_end = FrontEnd(normalisation="residual", residual_lambda=0.3)
    log_mel = LogMel(front_end)
    waveform = torch.from_numpy(_noise(3 * 30_000, 0.01).astype(np.float32)).view(3, -1)
    plain = log_mel.log_mel(waveform).double().numpy()
    mean, deviation = plain.mean(axis=-1, keepdims=True), np.sqrt(plain.var(axis=-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(log_mel(waveform).numpy(), 0.3 * plain + (plain - mean) / deviation, atol=1e-4, rtol=0)
    silent = torch.zeros(1, 30_000)
    torch.testing.assert_close(log_mel(silent), 0.3 * log_mel.log_mel(silent), atol=0.01, rtol=0)


@pytest.mark.parametrize("normalisation", ["none", "per_band"])
def test_log_mel_stays_as_it_is_if_the_clip_is_not_normalised(normalisation):
    log_mel = LogMel(FrontEnd(normalisation=normalisation))
    waveform = torch.from_numpy(_noise(30_000, 0.01).astype(np.float32))[None]
    assert torch.equal(log_mel(waveform), log_mel.log_mel(waveform))


@pytest.mark.parametrize("samples", [441, 442, 881, 882, 1322, 1323, 4095, 44_099, 44_100, 44_101, 441_007])
def test_frames_are_whole_hops_and_short_clips_equal_librosa(samples):
    waveform = _noise(samples, 0.01)
    log_mel = _log_mel(waveform, FrontEnd())
    assert log_mel.shape == (128, samples // 441)
    with np.testing.suppress_warnings() as quiet:
        quiet.filter(UserWarning, "n_fft=4096 is too large")
        expected = np.log(_librosa_mel(waveform, FrontEnd()) + 1e-5)
    np.testing.assert_allclose(log_mel, expected, atol=1e-4, rtol=0)


def test_frames_agree_with_the_config():
    waveform = torch.zeros(1, 3 * 44_100)
    assert LogMel(FrontEnd())(waveform).shape == (1, 1, 128, FrontEnd().frames(3.0))


@pytest.mark.parametrize("batch", [3, 300, 1100])
def test_a_batch_equals_its_clips(batch):
    front_end = FrontEnd(sample_rate_hz=16_000, dft_points=512, mel_bands=32)
    log_mel = LogMel(front_end)
    waveform = torch.from_numpy(_noise(batch * 4_321, 0.01).astype(np.float32)).view(batch, -1)
    together = log_mel(waveform)
    assert together.is_contiguous()
    assert together.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(together, torch.cat([log_mel(row[None]) for row in waveform]), atol=1e-5, rtol=0)


def test_autocast_leaves_the_front_end_in_float32():
    log_mel = LogMel(FrontEnd())
    waveform = torch.from_numpy(_noise(22_050, 0.003).astype(np.float32))[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = log_mel(waveform)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, log_mel(waveform))


def test_the_front_end_has_no_state():
    assert LogMel(FrontEnd()).state_dict() == {}
    assert list(LogMel(FrontEnd()).parameters()) == []


def test_its_constants_move_to_the_device():
    assert {buffer.device.type for buffer in LogMel(FrontEnd()).to("meta").buffers()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_agree():
    waveform = torch.from_numpy(_noise(80 * 44_100, 0.01).astype(np.float32)).view(80, -1)
    on_gpu = LogMel(FrontEnd()).to("cuda")(waveform.to("cuda"))
    torch.testing.assert_close(on_gpu.cpu(), LogMel(FrontEnd())(waveform), atol=1e-4, rtol=0)


def test_a_clip_without_a_frame_is_refused():
    with pytest.raises(InputError, match="440 samples is shorter than one frame"):
        LogMel(FrontEnd())(torch.zeros(1, 440))
