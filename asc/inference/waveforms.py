"""The one way from waveforms to probabilities, for a model file and audio of any rate, channel count and length.

A waveform is treated like a clip of a data set (`asc.data`): its channels are averaged, it is resampled, rounded to 16
bits with its peak at full scale, and passed to the front end of the model's config. So a clip of an evaluation set gets
the same probabilities as in `launch/evaluate.py`, bit for bit on the same CPU, since the network sees each clip alone
there too.

Audio longer than 30 s is cut into equal windows of about 10 s, and their probabilities are averaged. Networks are
trained on crops of 10 s clips and evaluated on whole ones, so they never saw statistics over minutes; windows also
bound memory. Windows are cut before resampling. Everything runs on the CPU.
"""

from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from asc.audio.frontend import LogMel
from asc.audio.level import quantise
from asc.audio.level_notes import level_note
from asc.audio.sound import RATES_HZ, Header, Piece, mono, resampled
from asc.errors import AudioProblem, InputError
from asc.model_file.model_info import ModelInfo
from asc.models.stored import StoredNet
from asc.results import Prediction
from asc.topology.describe import kind_of

LONGEST_WHOLE_S = 30
WINDOW_S = 10
LOUDEST = 100.0
MOST_CHANNELS = 256
_FULL_SCALE = {"uint8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}
_TENSORS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int16, torch.int32)


class WaveformModel:
    """A stored network with its front end: waveforms in, probabilities out."""

    def __init__(self, network: StoredNet, info: ModelInfo) -> None:
        """`info` is the description in the network's file (see `load`)."""
        self.network = network
        self.info = info
        self.log_mel = LogMel(info.experiment.front_end)

    def __repr__(self) -> str:
        """What kind of network it is, and how good on the validation clips."""
        experiment, figures = self.info.experiment, self.info.evaluation
        bits = 8 if experiment.compression.storage == "int8" else 16
        return (
            f"<asc model: {kind_of(experiment.architecture)}, {bits} bits, {len(self.labels)} classes, "
            f"{self.sample_rate_hz:,} Hz, log loss {figures.log_loss:.3f}, accuracy {figures.accuracy:.1%} on "
            f"{figures.split}>"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the probabilities."""
        return self.info.labels

    @property
    def sample_rate_hz(self) -> int:
        """The rate that waveforms are resampled to."""
        return self.info.experiment.front_end.sample_rate_hz

    def predict(self, waveform: ArrayLike | torch.Tensor, sample_rate_hz: float) -> Prediction:
        """Predict a waveform, (samples,) or (channels, samples), given as an array or a tensor.

        Floats have full scale 1; int16, int32 and uint8 (silence is 128) are divided by their full scale.

        Raises:
            InputError: the shape, type or rate is not supported, samples are not finite or far beyond full scale, or
                the waveform is shorter than one frame of the front end.
        """
        rate_hz = _checked_rate(sample_rate_hz)
        sound = _as_floats(waveform)
        bounds = np.cumsum([0, *window_lengths(Header(samples=len(sound), sample_rate_hz=rate_hz))])
        try:
            pieces = [sound[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]
            return self.mean(
                Piece(sound=resampled(mono(piece), rate_hz, self.sample_rate_hz), peak=float(np.abs(piece).max()))
                for piece in pieces
            )
        except AudioProblem as problem:
            raise InputError(f"the waveform cannot be used ({problem}): give finite samples") from problem

    def mean(self, windows: Iterable[Piece]) -> Prediction:
        """Average the probabilities of windows, each (samples,) at the model's rate."""
        total, count, peak, loudest = np.zeros(len(self.labels)), 0, 0.0, 0.0
        for window in windows:
            total += self._probabilities(window.sound)
            count += 1
            peak, loudest = max(peak, float(np.abs(window.sound).max())), max(loudest, window.peak)
        probabilities = tuple((total / count).tolist())
        return Prediction(labels=self.labels, probabilities=probabilities, note=level_note(peak, loudest))

    @torch.inference_mode()
    def _probabilities(self, waveform: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the probabilities of one window: (samples,) at the model's rate to (classes,)."""
        check_level(waveform)
        rounded = torch.from_numpy(quantise(waveform).samples)
        logits = self.network(self.log_mel(rounded[None]))
        probabilities: NDArray[np.float64] = torch.softmax(logits.double(), dim=1)[0].numpy()
        return probabilities


def window_lengths(header: Header) -> Iterator[int]:
    """Yield the lengths in samples of the equal windows of a recording; up to 30 s it is one window.

    This is a generator because a faulty header may claim more windows than fit in memory.
    """
    samples, seconds = header.samples, header.samples / header.sample_rate_hz
    windows = round(seconds / WINDOW_S) if seconds > LONGEST_WHOLE_S else 1
    return (samples * (number + 1) // windows - samples * number // windows for number in range(windows))


def check_level(waveform: NDArray[np.float32]) -> None:
    """Check that samples have a full scale of about 1, to catch integers that were cast to float unscaled.

    Raises:
        InputError: samples exceed 100 times full scale.
    """
    peak = float(np.abs(waveform).max(initial=0))
    if peak > LOUDEST:
        raise InputError(f"samples reach {peak:.6g}, but full scale is 1: divide them by their full scale")


def _checked_rate(sample_rate_hz: float) -> int:
    low, high = RATES_HZ
    if not isinstance(sample_rate_hz, Real):
        raise InputError(f"a sample rate must be a number in Hz, not {type(sample_rate_hz).__name__}: give a number")
    if not low <= sample_rate_hz <= high or sample_rate_hz != int(sample_rate_hz):
        raise InputError(
            f"a sample rate of {sample_rate_hz} Hz cannot be used: give a whole number between {low:,} and {high:,}"
        )
    return int(sample_rate_hz)


def _as_floats(waveform: ArrayLike | torch.Tensor) -> NDArray[np.float32]:
    """Convert to (samples, channels) float32, full scale 1; a view if possible."""
    sound = _of_tensor(waveform) if isinstance(waveform, torch.Tensor) else _of_array(waveform)
    if sound.ndim not in (1, 2) or 0 in sound.shape:
        raise InputError(
            f"a waveform must have the shape (samples,) or (channels, samples) and not be empty, got {sound.shape}"
        )
    sound = np.atleast_2d(sound)
    if len(sound) > MOST_CHANNELS or (len(sound) > 1 and len(sound) > sound.shape[1]):
        raise InputError(f"a waveform of shape {sound.shape} has {len(sound)} channels: give (channels, samples)")
    if sound.dtype.name in _FULL_SCALE:
        silence = 128 if sound.dtype == np.uint8 else 0
        sound = (sound.astype(np.float32) - silence) / np.float32(_FULL_SCALE[sound.dtype.name])
    elif not np.issubdtype(sound.dtype, np.floating):
        raise _other_numbers(sound.dtype)
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, which is refused later
        return sound.astype(np.float32, copy=False).T


def _of_tensor(waveform: torch.Tensor) -> NDArray[Any]:
    if waveform.layout is not torch.strided or waveform.is_nested or waveform.is_meta:
        kind = "a nested" if waveform.is_nested else "a meta" if waveform.is_meta else "a sparse"
        raise InputError(f"a waveform must be a dense tensor, not {kind} one: give (samples,) or (channels, samples)")
    if waveform.dtype not in _TENSORS:
        raise _other_numbers(waveform.dtype)
    waveform = waveform.detach().cpu().resolve_neg()
    array: NDArray[Any] = (waveform.float() if waveform.is_floating_point() else waveform).numpy()
    return array


def _of_array(waveform: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(waveform)
    except (TypeError, ValueError, RuntimeError) as error:  # from numpy and, for lists of tensors, from torch
        raise InputError(
            "this waveform cannot be turned into an array: give (samples,) or (channels, samples), with channels of "
            "equal length"
        ) from error


def _other_numbers(dtype: object) -> InputError:
    return InputError(f"a waveform must be floats of full scale 1, int16, int32 or uint8, not {dtype}: convert it")
