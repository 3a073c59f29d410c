"""Sound through a microphone equals plain convolution, and keeps its timing, length and level."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from numpy.typing import NDArray

from asc.audio.audio_file import AudioProblem, decode
from asc.data.impulse_response import LOWEST_HZ, Response, read_response

RATE_HZ = 16_000


def write(folder: Path, impulse: NDArray[np.float64], *, rate_hz: int = RATE_HZ, name: str = "ir.wav") -> Response:
    soundfile.write(folder / name, impulse, rate_hz, subtype="DOUBLE")
    return read_response(folder / name, device="s1")


def ringing(seed: int, *, samples: int = 3000, peak: int = 40) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    impulse = rng.standard_normal(samples) * np.exp(-np.arange(samples) / 60) * 0.2
    impulse[peak] = -1.0  # the highest peak may be negative
    return impulse


def noise(seconds: float = 0.5, *, seed: int = 9) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ)).astype(np.float32) * 0.01


def test_it_is_linear_convolution_aligned_to_the_peak(tmp_path: Path) -> None:
    impulse = ringing(0)
    heard = write(tmp_path, impulse).heard(noise(), RATE_HZ)
    direct = np.convolve(noise().astype(np.float64), impulse)[40 : 40 + len(noise())]
    gain = np.dot(heard, direct) / np.dot(direct, direct)
    assert heard.dtype == np.float32 and heard.shape == noise().shape
    assert np.abs(heard - gain * direct).max() < 1e-6 * np.abs(direct).max()


@pytest.mark.parametrize("place", [0, 1, 500])
@pytest.mark.parametrize("height", [1.0, 0.01])
def test_a_delta_changes_nothing(tmp_path: Path, place: int, height: float) -> None:
    impulse = np.zeros(700)
    impulse[place] = height
    assert np.allclose(write(tmp_path, impulse).heard(noise(), RATE_HZ), noise(), rtol=0, atol=1e-8)
    short = noise(0.01)
    assert np.allclose(write(tmp_path, impulse).heard(short, RATE_HZ), short, rtol=0, atol=1e-8)


def test_an_echo_comes_later_and_a_pre_echo_earlier(tmp_path: Path) -> None:
    impulse = np.zeros(300)
    impulse[[80, 100, 250]] = 0.1, 1.0, 0.5
    click = np.zeros(1000, np.float32)
    click[400] = 1
    heard = write(tmp_path, impulse).heard(click, RATE_HZ)
    assert np.flatnonzero(np.abs(heard) > 1e-6).tolist() == [380, 400, 550]
    assert heard[[380, 550]] / heard[400] == pytest.approx([0.1, 0.5])


@pytest.mark.parametrize("seed", range(3))
def test_pink_noise_keeps_its_level(tmp_path: Path, seed: int) -> None:
    spectrum = np.fft.rfft(noise(20.0, seed=seed + 50))
    frequency_hz = np.fft.rfftfreq(round(20.0 * RATE_HZ), 1 / RATE_HZ)
    spectrum[1:] /= np.sqrt(frequency_hz[1:])
    spectrum[frequency_hz < LOWEST_HZ] = 0
    pink = np.fft.irfft(spectrum).astype(np.float32)
    impulse = scipy.signal.lfilter(*scipy.signal.butter(2, [300, 2000], fs=RATE_HZ, btype="band"), ringing(seed))
    heard = write(tmp_path, impulse).heard(pink, RATE_HZ)
    assert 20 * np.log10(np.std(heard) / np.std(pink)) == pytest.approx(0, abs=0.3)


def test_a_response_at_another_rate_is_resampled(tmp_path: Path) -> None:
    """A 3 kHz low-pass measured at 48 kHz stays at 3 kHz, and the sound is not delayed."""
    low = scipy.signal.firwin(801, 3000, fs=48_000)
    response = write(tmp_path, low, rate_hz=48_000)
    heard = response.heard(noise(2.0), RATE_HZ)
    at_rate = decode(response.path, RATE_HZ).astype(np.float64)
    direct = np.convolve(noise(2.0), at_rate)[np.abs(at_rate).argmax() :][: len(heard)]
    assert np.corrcoef(heard, direct)[0, 1] > 0.999_999
    frequency_hz, power = scipy.signal.welch(heard, RATE_HZ, nperseg=512)
    assert power[frequency_hz > 3500].max() < 1e-4 * power[(frequency_hz > 500) & (frequency_hz < 2500)].min()
    assert scipy.signal.correlate(heard, noise(2.0)).argmax() == len(heard) - 1


def test_the_identity_depends_on_content_not_location(tmp_path: Path) -> None:
    one = write(tmp_path, ringing(1))
    moved = shutil.copy(tmp_path / "ir.wav", tmp_path / "moved.wav")  # a float WAV stores its time of writing
    same = read_response(Path(moved), device="s1")
    assert one.identity == same.identity != write(tmp_path, ringing(2)).identity


@pytest.mark.parametrize(
    ("damage", "reason"), [("empty", "empty file"), ("text", "unreadable"), ("cut", "cut off"), ("nan", "not finite")]
)
def test_damaged_files_are_refused(tmp_path: Path, damage: str, reason: str) -> None:
    file = write(tmp_path, ringing(1)).path
    match damage:
        case "empty":
            file.write_bytes(b"")
        case "text":
            file.write_bytes(b"no audio")
        case "cut":
            file.write_bytes(file.read_bytes()[:-400])
        case "nan":
            soundfile.write(file, np.full(2000, np.nan), RATE_HZ, subtype="FLOAT")
    with pytest.raises(AudioProblem, match=reason):
        read_response(file, device="s1")


def test_a_silent_response_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioProblem, match="silent"):
        write(tmp_path, np.zeros(2000))
