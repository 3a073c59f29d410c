"""Folders of sound: audio is taken and packed by `folder:`, everything else is named."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import SOUND, encoded

from asc.config.data_choice import DataChoice
from asc.data.dataset import open_dataset
from asc.data.download.verify import lines, verify
from asc.data.manifest import load_manifest
from asc.data.sound_folder import sound_below
from asc.errors import InputError

RATE_HZ = 44_100
LATIN_1 = os.fsdecode(b"caf\xe9.m4a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of six WAV clips, an M4A with a Latin-1 name, and typical stray files."""
    for number, label in enumerate(("in", "out")):
        (tmp_path / label).mkdir()
        for take in range(6):
            soundfile.write(tmp_path / label / f"{take}.wav", SOUND[(number + take) * 1000 :], RATE_HZ)
    (tmp_path / "in" / LATIN_1).write_bytes(encoded("alac", "ipod"))
    (tmp_path / "in" / "notes.txt").write_text("x")
    (tmp_path / "out" / "._0.wav").write_text("x")
    (tmp_path / "stray.wav").write_text("x")
    (tmp_path / "out" / "gone.wav").symlink_to("nowhere")
    return tmp_path


def test_everything_passed_over_is_named(folder: Path) -> None:
    (folder / "in" / "loop").symlink_to(folder)
    found = sound_below(folder / "in")
    assert [path.name for path in found.files] == [*(f"{take}.wav" for take in range(6)), LATIN_1]
    assert [path.name for path in found.passed_over] == ["loop", "notes.txt"] and found.shut == ()
    manifest = load_manifest(DataChoice(f"folder:{folder}"))
    assert manifest.passed_over == ("in/loop", "in/notes.txt", "out/._0.wav", "out/gone.wav", "stray.wav")
    assert manifest.notes == (f"5 files in folder:{folder} passed over: in/loop, in/notes.txt, out/._0.wav and 2 more",)


def test_packing_warns_in_one_line_per_kind(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    soundfile.write(folder / "in" / "0.wav", np.zeros(RATE_HZ), RATE_HZ)
    soundfile.write(folder / "in" / "1.wav", np.stack([SOUND, -SOUND], axis=1), RATE_HZ)
    soundfile.write(folder / "in" / "2.wav", SOUND / 256, RATE_HZ, subtype="PCM_24")
    dataset = open_dataset(DataChoice(f"folder:{folder}"), sample_rate_hz=8000, cache=cache)
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 4
    caplog.clear()
    for words, line in zip(("passed over: ", "silent: ", "cancel each other", "below -48 dBFS"), warnings, strict=True):
        assert words in line
    number = [clip.path for clip in dataset.manifest.clips].index(f"in/{LATIN_1}")
    assert dataset.samples(number) == -(-len(SOUND) * 8000 // RATE_HZ)
    open_dataset(DataChoice(f"folder:{folder}"), sample_rate_hz=8000, cache=cache)
    assert not caplog.records, "a packed set is not packed again"
    notes = [line for line in lines(verify(f"folder:{folder}")) if line.startswith("note: ")]
    assert len(notes) == 4


def test_a_folder_without_sound_is_no_class_and_the_warning_says_what_it_holds(folder: Path) -> None:
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("x")
    manifest = load_manifest(DataChoice(f"folder:{folder}"))
    assert "texts" not in manifest.labels
    assert manifest.warnings[0].endswith("texts (only a.txt)")


def test_at_least_two_folders_need_sound(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x.wav").touch()
    with pytest.raises(InputError, match=r"1 class folder\(s\) with audio, but at least 2 .* without audio are: b, c"):
        load_manifest(DataChoice(f"folder:{tmp_path}"))


def test_a_label_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / "in").rename(folder / os.fsdecode(b"caf\xe9"))
    with pytest.raises(InputError, match="not UTF-8"):
        load_manifest(DataChoice(f"folder:{folder}"))
