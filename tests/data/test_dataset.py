"""The data set as training sees it: clips by number, without the test clips."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc.config.data_choice import DataChoice
from asc.data.dataset import default_cache, open_dataset
from asc.errors import InputError

RATE_HZ = 8_000


@pytest.fixture
def spec(tmp_path: Path) -> str:
    lines = ["filename,label,device,split"]
    for number in range(24):
        name, label = f"{number}.wav", ("sea", "rain")[number % 2]
        soundfile.write(tmp_path / name, np.full(RATE_HZ // 4 + number, (number + 1) / 100), RATE_HZ, subtype="FLOAT")
        lines.append(f"{name},{label},{'ab'[number // 2 % 2]},{'test' if number >= 20 else 'train'}")
    (tmp_path / "set.csv").write_text("\n".join([*lines[:-1], lines[-1].replace(",b,", ",z,")]))
    return f"csv:{tmp_path / 'set.csv'}"


def test_clips_are_read_by_number(spec: str, tmp_path: Path) -> None:
    data = open_dataset(DataChoice(spec), sample_rate_hz=RATE_HZ, cache=tmp_path / "cache")
    assert data.labels == ("rain", "sea") and data.devices == ("a", "b")
    opened = np.concatenate([data.indices(split) for split in ("train", "valid", "calibration")])
    assert sorted(opened) == list(range(20))
    for i in opened:
        assert data.samples(i) == RATE_HZ // 4 + i
        assert data.labels[data.target(i)] == ("sea", "rain")[i % 2]
        assert data.device(i) == "ab"[i // 2 % 2]
        assert np.allclose(data.waveform(i, 10, 5), (i + 1) / 100, rtol=1e-4) and len(data.waveform(i, 10, 5)) == 5


def test_test_clips_cannot_be_read_unless_opened(spec: str, tmp_path: Path) -> None:
    closed = open_dataset(DataChoice(spec), sample_rate_hz=RATE_HZ, cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="split test was not opened, only calibration, train, valid"):
        closed.indices("test")
    with pytest.raises(ValueError, match="split test was not opened"):
        closed.waveform(21)
    opened = open_dataset(DataChoice(spec), sample_rate_hz=RATE_HZ, cache=tmp_path / "cache", splits=("test",))
    assert list(opened.indices("test")) == [20, 21, 22, 23] and opened.devices == ("a", "b", "z")
    assert len(opened.waveform(21)) == opened.samples(21)
    with pytest.raises(ValueError, match="split train was not opened, only test"):
        opened.waveform(0)


def test_part_all_trains_on_every_clip_and_has_no_test_split(spec: str, tmp_path: Path) -> None:
    everything = DataChoice(spec, part="all")
    data = open_dataset(everything, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache", splits=("train", "valid"))
    assert list(data.indices("train")) == list(range(24))
    assert 0 < len(data.indices("valid")) < 8
    assert all(len(data.waveform(i)) == data.samples(i) for i in range(24))
    assert data.devices == ("a", "b", "z") and data.trained_devices == {"a", "b", "z"}
    opened = open_dataset(everything, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache", splits=("valid", "test"))
    with pytest.raises(ValueError, match="all its clips for training: it has no test split"):
        opened.indices("test")
    other = next(i for i in range(24) if i not in opened.indices("valid"))
    with pytest.raises(ValueError, match="was not opened, only test, valid"):
        opened.waveform(other)


def test_clips_without_labels_have_only_waveforms_and_names(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "audio" / f"{number}.wav", np.full(2000, 0.1 * (number + 1)), RATE_HZ)
    lines = ["filename", *(f"audio/{number}.wav" for number in range(3))]
    (tmp_path / "evaluation_setup" / "fold1_test.csv").write_text("\n".join(lines) + "\n")
    for choice in (DataChoice(f"tau2020:{tmp_path}"), DataChoice(f"tau2022:{tmp_path}", fold=3, part="all")):
        data = open_dataset(choice, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache", splits=("test",))
        assert not data.manifest.labelled and len(data.labels) == 10 and data.devices == ("unknown",)
        assert [data.manifest.clips[i].path for i in data.indices("test")] == lines[1:]
        assert np.allclose(data.waveform(2), 0.3, atol=1e-3)
        with pytest.raises(ValueError, match="clip audio/1.wav of tau202.* has no label"):
            data.target(1)
        for split in ("train", "valid", "calibration"):
            with pytest.raises(InputError, match="is an evaluation set without labels, so nothing can be trained"):
                open_dataset(choice, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache", splits=(split,))


def test_the_environment_sets_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASC_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("ASC_CACHE")
    assert default_cache() == Path.home() / ".cache" / "asc"
