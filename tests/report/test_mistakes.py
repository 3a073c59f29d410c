"""Misclassified clips: which, in which order, their sound, how much of it is kept, and what a page makes of them."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asc.audio.sound import resampled
from asc.data.dataset import Dataset
from asc.report import mistakes
from asc.report.mistakes import Mistakes, as_bytes, find_mistakes, players, read_mistakes


@pytest.fixture(scope="module")
def guessed(tiny_dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits for the validation clips, and the clips' indices."""
    clips = torch.from_numpy(tiny_dataset.indices("valid"))
    logits = torch.randn(len(clips), len(tiny_dataset.labels), generator=torch.Generator().manual_seed(0))
    return logits.double(), clips


@pytest.fixture(scope="module")
def found(tiny_dataset: Dataset, guessed: tuple[torch.Tensor, torch.Tensor]) -> Mistakes:
    return find_mistakes(tiny_dataset, *guessed)


def test_they_are_the_clips_with_another_label_the_surest_first(
    tiny_dataset: Dataset, guessed: tuple[torch.Tensor, torch.Tensor], found: Mistakes
) -> None:
    logits, clips = guessed
    guesses = zip(clips.tolist(), logits.argmax(dim=1).tolist(), strict=True)
    wrong = [clip for clip, guess in guesses if tiny_dataset.target(clip) != guess]
    names = [tiny_dataset.manifest.clips[clip].path for clip in wrong]
    assert 0 < found.total == len(wrong) < len(clips) and {clip.file for clip in found.clips} == set(names)
    shares = [clip.probability for clip in found.clips]
    assert shares == sorted(shares, reverse=True)
    for clip in found.clips:
        assert clip.label == clip.file.partition("-")[0] != clip.predicted and clip.device in "ab"


def test_the_sound_is_that_of_the_clip(tiny_dataset: Dataset, found: Mistakes) -> None:
    first = found.clips[0]
    number = next(i for i, clip in enumerate(tiny_dataset.manifest.clips) if clip.path == first.file)
    wave, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(first.sound)))
    expected = resampled(tiny_dataset.waveform(number), tiny_dataset.sample_rate_hz, rate_hz)
    assert rate_hz == 16_000 and abs(len(wave) - len(expected)) < 0.2 * rate_hz
    spectra = [np.abs(np.fft.rfft(one, 2**15)) for one in (wave, expected)]
    assert np.corrcoef(*spectra)[0, 1] > 0.9


def test_only_so_much_sound_is_kept_but_all_are_counted(
    tiny_dataset: Dataset,
    guessed: tuple[torch.Tensor, torch.Tensor],
    found: Mistakes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = [len(base64.b64decode(clip.sound)) for clip in found.clips]
    monkeypatch.setattr(mistakes, "MOST_BYTES", sizes[0] + sizes[1])
    few = find_mistakes(tiny_dataset, *guessed)
    assert few.total == found.total and few.clips == found.clips[:2]


def test_a_file_reads_back_and_a_damaged_one_does_not(found: Mistakes, tmp_path: Path) -> None:
    path = tmp_path / "mistakes.json"
    assert read_mistakes(path) is None
    path.write_bytes(as_bytes(found))
    assert read_mistakes(path) == found
    forged = dataclasses.replace(found.clips[0], sound='"><script>')
    for damaged in (
        as_bytes(found)[:-9],
        b"[]",
        as_bytes(found).replace(b'"total"', b'"sum"'),
        as_bytes(Mistakes(total=1, clips=(forged,))),
    ):
        path.write_bytes(damaged)
        assert read_mistakes(path) is None, damaged[:40]


def test_a_player_stands_for_each_with_its_names_escaped(found: Mistakes) -> None:
    odd = dataclasses.replace(found.clips[0], file="<b>.wav", label="a&b")
    html = players(Mistakes(total=9, clips=(odd, *found.clips[1:])))
    assert html.count('<audio controls preload="none" src="data:audio/mpeg;base64,') == len(found.clips)
    assert "&lt;b&gt;.wav" in html and "<b>.wav" not in html and "a&amp;b, taken for" in html
    assert players(Mistakes(total=0, clips=())) == ""
