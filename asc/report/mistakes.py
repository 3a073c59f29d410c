"""The misclassified clips of an evaluation, the surest mistakes first, each with its first seconds as a small MP3.

An evaluation saves them, because it has the audio at hand. The report page reads the file, so it needs no audio.
"""

import base64
import binascii
import io
import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from asc.audio.sound import resampled
from asc.data.dataset import Dataset
from asc.typed import typed

MISTAKES = "mistakes.json"
MOST_BYTES = 1_000_000
"""At most this much sound is kept of an evaluation; the page holds a third more, because it is text."""
_SECONDS, _RATE_HZ, _FORMAT = 5, 16_000, "MP3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A clip that was taken for `predicted`, with this probability. `sound` is an MP3 in base64."""

    file: str
    device: str
    label: str
    predicted: str
    probability: float
    sound: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """The surest mistakes whose sound fits into `MOST_BYTES`; `total` counts all."""

    total: int
    clips: tuple[Mistake, ...]


def find_mistakes(dataset: Dataset, logits: Tensor, clips: Tensor) -> Mistakes:
    """The misclassified ones of these clips, (clips,) of a data set, with logits (clips, classes)."""
    probabilities = torch.softmax(logits.double(), dim=1)
    surest, guesses = probabilities.max(dim=1)
    found = [
        (float(surest[row]), int(clip), int(guesses[row]))
        for row, clip in enumerate(clips.tolist())
        if int(guesses[row]) != dataset.target(clip)
    ]
    found.sort(key=lambda one: (-one[0], one[1]))
    kept, left = list[Mistake](), MOST_BYTES
    for probability, clip, guess in found if _FORMAT in soundfile.available_formats() else ():
        sound = _sound(dataset, clip)
        left -= len(sound)
        if left < 0:
            break
        kept.append(
            Mistake(
                file=dataset.manifest.clips[clip].path,
                device=dataset.device(clip),
                label=dataset.labels[dataset.target(clip)],
                predicted=dataset.labels[guess],
                probability=probability,
                sound=base64.b64encode(sound).decode(),
            )
        )
    return Mistakes(total=len(found), clips=tuple(kept))


def as_bytes(mistakes: Mistakes) -> bytes:
    """The content of the file `MISTAKES`."""
    return json.dumps(asdict(mistakes), allow_nan=False).encode()


def read_mistakes(path: Path) -> Mistakes | None:
    """Read the file `MISTAKES` of an evaluation; None if it is missing or damaged."""
    try:
        mistakes: Mistakes = typed(Mistakes, json.loads(path.read_text("utf-8")), "mistakes")
        for clip in mistakes.clips:
            base64.b64decode(clip.sound, validate=True)
    except (OSError, ValueError, TypeError, binascii.Error):  # InputError is a ValueError
        return None
    return mistakes


def players(mistakes: Mistakes) -> str:
    """The clips as HTML, each with a player."""
    return f'<div class="clips">{"".join(map(_player, mistakes.clips))}</div>' if mistakes.clips else ""


def _player(clip: Mistake) -> str:
    said = f"{clip.label}, taken for {clip.predicted} ({clip.probability:.0%})"
    return (
        f"<div><b>{escape(said)}</b><small>{escape(clip.file)}, device {escape(clip.device)}</small>"
        f'<audio controls preload="none" src="data:audio/mpeg;base64,{clip.sound}"></audio></div>'
    )


def _sound(dataset: Dataset, clip: int) -> bytes:
    """The first seconds of a clip as the network hears them (through its device), as an MP3."""
    count = min(dataset.samples(clip), _SECONDS * dataset.sample_rate_hz)
    wave = resampled(dataset.waveform(clip, 0, count), dataset.sample_rate_hz, _RATE_HZ)
    file = io.BytesIO()
    soundfile.write(file, wave, _RATE_HZ, format=_FORMAT)
    return file.getvalue()
