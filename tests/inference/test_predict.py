"""Inference from waveforms gives the probabilities of evaluation, or an error of one sentence."""

import csv
import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly
from sound_files import (
    PCM,
    flac_of_unknown_length,
    flac_that_counts,
    limited,
    mp3_that_counts,
    rf64,
    wav,
    with_granule,
    written,
)
from torch import Tensor

import asc
from asc.audio.sound import Header, Piece
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment, Storage
from asc.data.dataset import Dataset, open_dataset
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator
from asc.inference.predict import Model
from asc.inference.waveforms import window_lengths
from asc.models.build import build_network
from asc.models.conversion import to_half, to_stored
from asc.models.layers import SqueezeExcite
from asc.report.predictions import submission
from asc.runs.events import RunStarted
from asc.runs.journal import Journal

RATE_HZ = 8000


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return asc.load(str(tiny_model))


@pytest.fixture(scope="module")
def half(tiny_experiment: Experiment, model: Model) -> Model:
    """A float16 model."""
    experiment = tiny_experiment.updated({"compression.storage": "float16"})
    network = build_network(experiment.architecture, experiment.front_end, seed=1, storage="float16").train()
    network(torch.randn(8, 1, 16, 40, generator=torch.Generator().manual_seed(0)) * 3)
    return Model(to_half(network), model.info)


def chirps(seconds: float, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Chirps that change halfway, so that the two halves get different probabilities; (samples,), full scale 1."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sweep = (time_s * (5 + 10 * (time_s > seconds / 2))) % 1.0
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.1 * np.sin(2 * np.pi * np.cumsum(500 + 2000 * sweep) / rate_hz) + 0.003 * noise).astype(np.float32)


def test_predictions_of_data_set_clips_equal_those_of_evaluation(
    model: Model, tiny_csv: Path, tiny_cache: Path
) -> None:
    dataset = open_dataset(
        DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=RATE_HZ, cache=tiny_cache, splits=("valid", "test")
    )
    network, info = model.network, model.info
    written: list[str] = []
    for split in ("valid", "test"):
        evaluator = Evaluator(dataset, split, info.experiment.front_end, torch.device("cpu"))
        text = submission(evaluator.predictions(*evaluator.logits(network), info.labels))
        rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
        for row in rows:
            said = model.predict_file(tiny_csv.parent / row["filename"])
            waveform, rate_hz = soundfile.read(tiny_csv.parent / row["filename"], dtype="float32")
            assert model.predict(waveform, rate_hz) == said
            assert said.label == row["scene_label"]
            assert [f"{probability:.9g}" for probability in said.probabilities] == [row[name] for name in said.labels]
            written.append(row[said.label])
    assert len(written) > 30 and len(set(written)) > 10, "the clips must get different answers"


def test_float16_networks_give_the_probabilities_of_evaluation(half: Model, tiny_dataset: Dataset) -> None:
    evaluator = Evaluator(tiny_dataset, "valid", half.info.experiment.front_end, torch.device("cpu"))
    rows, clips = evaluator.logits(half.network)
    for row, clip in zip(torch.softmax(rows, dim=1).tolist(), clips.tolist(), strict=True):
        assert list(half.predict(tiny_dataset.waveform(clip), RATE_HZ).probabilities) == row


@pytest.fixture(scope="module")
def clips_of_10_s(tmp_path_factory: pytest.TempPathFactory, tiny_cache: Path) -> Dataset:
    """Four clips in the test fold, at 44.1 kHz; a data set also needs the other folds."""
    folder = tmp_path_factory.mktemp("clips_of_10_s")
    rows = [["filename", "label", "group", "fold"]]
    for number in range(16):
        seconds, fold = (10.0, 1) if number < 4 else (0.5, 2 + number % 3)
        sound = np.roll(chirps(seconds, 44_100), 40_000 * number) * (1 + number)
        soundfile.write(folder / f"{number}.wav", sound / 20, 44_100)
        rows.append([f"{number}.wav", "ab"[number % 2], f"place {number}", str(fold)])
    with (folder / "meta.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    choice = DataChoice(f"csv:{folder / 'meta.csv'}")
    return open_dataset(choice, sample_rate_hz=44_100, cache=tiny_cache, splits=("test",))


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_gates_of_a_full_size_network_equal_those_of_evaluation(
    model: Model, clips_of_10_s: Dataset, storage: Storage
) -> None:
    """In a batch, gates once differed by about 1e-8, which can change an 8-bit value and so a label."""
    experiment = Experiment().updated({"architecture.classes": 2, "compression.storage": storage})
    front_end, mel_bands = experiment.front_end, experiment.front_end.mel_bands
    network = build_network(experiment.architecture, front_end, seed=0, storage=storage).train()
    network(torch.randn(4, 1, mel_bands, 64, generator=torch.Generator().manual_seed(0)) * 3)
    real = Model(to_stored(network), replace(model.info, experiment=experiment, labels=clips_of_10_s.labels))
    gates: list[Tensor] = []
    for module in real.network.modules():
        if isinstance(module, SqueezeExcite):
            module.expand.register_forward_hook(lambda module, inputs, output: gates.extend(output.clone()))
    evaluator = Evaluator(clips_of_10_s, "test", front_end, torch.device("cpu"))
    logits, clips = evaluator.logits(real.network)
    evaluated = list(gates)
    gates.clear()
    said = [real.predict(clips_of_10_s.waveform(clip), 44_100) for clip in clips.tolist()]
    assert len(gates) == len(evaluated) == 4 * sum(experiment.architecture.depths)
    assert all(torch.equal(one, other) for one, other in zip(gates, evaluated, strict=True))
    assert [list(one.probabilities) for one in said] == torch.softmax(logits, dim=1).tolist()
    assert len({one.probabilities for one in said}) > 1


def test_a_prediction_names_its_labels_best_first(model: Model) -> None:
    said = model.predict(chirps(0.6), RATE_HZ)
    assert said.labels == model.labels == model.info.labels and len(said.labels) == 4
    assert sum(said.probabilities) == pytest.approx(1) and said.probability == max(said.probabilities)
    assert said.label == said.labels[int(np.argmax(said.probabilities))]
    pairs = said.top(4)
    assert pairs[0] == (said.label, said.probability) and dict(pairs) == dict(
        zip(said.labels, said.probabilities, strict=True)
    )
    assert [p for _, p in pairs] == sorted(said.probabilities, reverse=True)
    assert said.top(2) == pairs[:2] and said.top(99) == pairs


def test_arrays_tensors_channels_and_integers_give_the_same_prediction(model: Model) -> None:
    sound = np.rint(chirps(0.6) * 2**15).astype(np.int16)
    expected = model.predict(sound.astype(np.float32) / 2**15, RATE_HZ)
    both = np.stack([2 * sound, np.zeros_like(sound)])
    for same in (
        sound,
        torch.from_numpy(sound),
        sound.astype(np.int32) * 2**16,
        sound / 2**15,
        torch.from_numpy(sound).double() / 2**15,
        torch.from_numpy(sound / 2**15).requires_grad_(),
        torch.complex(torch.zeros(len(sound)), torch.from_numpy(-sound / 2**15).float()).conj().imag,
        sound[None],
        both,
        np.asfortranarray(both),
    ):
        assert model.predict(same, RATE_HZ) == expected
    eight = np.rint(chirps(0.6) * 2**7)
    assert model.predict((eight + 128).astype(np.uint8), RATE_HZ) == model.predict(eight / 2**7, RATE_HZ)


@pytest.mark.parametrize("rate_hz", [4_000, 11_025, 44_100, 192_000, 7_999])
def test_other_sample_rates_give_nearly_the_same_prediction(model: Model, rate_hz: int) -> None:
    time_s = np.arange(round(0.7 * rate_hz)) / rate_hz
    low = 0.3 * np.sin(2 * np.pi * (300 * time_s + 800 * time_s**2))  # below half of every rate tested
    there = 0.3 * np.sin(2 * np.pi * (300 * np.arange(5600) / 8000 + 800 * (np.arange(5600) / 8000) ** 2))
    if rate_hz < RATE_HZ / 1.5:  # this rate loses the highest frequencies: remove them from the reference too
        there = resample_poly(resample_poly(there, 1, 2), 2, 1)
    found, expected = model.predict(low, rate_hz), model.predict(there, RATE_HZ)
    assert np.abs(np.subtract(found.probabilities, expected.probabilities)).sum() < 0.25


@pytest.mark.parametrize(("container", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS")])
def test_a_long_file_is_read_in_windows_and_predicted_like_its_waveform(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, subtype: str
) -> None:
    seconds, path = (600.0 if container == "wav" else 47.3), tmp_path / f"long.{container}"
    sound = np.tile(chirps(seconds / 10)[:, None], (10, 2)) * [1.0, 0.5]
    soundfile.write(path, sound, RATE_HZ, subtype=subtype)
    waveform, _ = soundfile.read(path, dtype="float32")
    lengths: list[int] = []
    pieces = asc.inference.predict.decode_pieces

    def watched(*arguments: Any) -> Iterator[Piece]:
        for piece in pieces(*arguments):
            lengths.append(len(piece.sound))
            yield piece

    monkeypatch.setattr(asc.inference.predict, "decode_pieces", watched)
    said = model.predict_file(path)
    assert sum(lengths) == len(sound) and 9 * RATE_HZ < min(lengths) <= max(lengths) < 12 * RATE_HZ
    np.testing.assert_allclose(said.probabilities, model.predict(waveform.T, RATE_HZ).probabilities, rtol=1e-9)
    if seconds == 600:
        return
    parts = np.array_split(waveform, len(lengths))
    mean = np.mean([model.predict(part.T, RATE_HZ).probabilities for part in parts], axis=0)
    np.testing.assert_allclose(said.probabilities, mean, atol=2e-3)  # array_split cuts up to a sample earlier or later


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.01, 1), (10, 1), (30, 1), (30.1, 3), (36, 4), (600, 60), (3599.9, 360)]
)
def test_windows_have_equal_lengths_and_cover_the_file(seconds: float, windows: int) -> None:
    samples = round(seconds * 44_100)
    lengths = list(window_lengths(Header(samples=samples, sample_rate_hz=44_100)))
    assert len(lengths) == windows and sum(lengths) == samples and max(lengths) - min(lengths) <= 1


def test_a_header_cannot_make_it_allocate_much_memory(tiny_model: Path, tmp_path: Path) -> None:
    """The headers claim hours to ages of sound; only 1 GiB of address space is left once the model is loaded."""
    files = {
        "a.flac": (
            flac_that_counts(2**36 - 1),
            "unreadable: cut off or damaged after about 65,536 of 68,719,476,735 samples",
        ),
        "slow.flac": (
            flac_that_counts(2**36 - 1, rate_hz=100),
            "unreadable: cut off or damaged after about 65,536 of 68,719,476,735 samples",
        ),
        "b.ogg": (with_granule(written("OGG", "VORBIS"), 2**60), "cut off: "),
        "c.opus": (with_granule(written("OGG", "OPUS", rate_hz=48_000), 2**60), "cut off: "),
        "d.mp3": (mp3_that_counts(2**31), "cut off: "),
        "e.rf64": (rf64(b"RF64", 2**61), "cut off: its data chunk length is 2,305,843,009,213,693,952 bytes"),
        "f.wav": (wav(3_000_000_000), "cut off: its data chunk length is 3,000,000,000 bytes"),
        "g.wav": (wav(len(PCM)), "0."),
        "h.wav": (wav(0xFFFFFFFF), "0."),
        "i.flac": (flac_of_unknown_length(), "0."),
    }
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    script = """
import asc
from asc.errors import InputError
model, *names = sys.argv[1:]
model = asc.load(model)
model.predict_file(Path(names[-1]))
limit()
for name in names:
    try:
        print(Path(name).name, model.predict_file(Path(name)).probability)
    except InputError as error:
        print(Path(name).name, str(error).removeprefix(f"{name}: "))
"""
    done = limited(script, str(tiny_model), *(str(tmp_path / name) for name in files))
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {name: said[name][: len(start)] for name, (_, start) in files.items()} == {
        name: start for name, (_, start) in files.items()
    }


GOOD = np.zeros(4000, np.float32)


def in_torchs_steps() -> torch.Tensor:
    """A quantised tensor of torch, (4000 samples,) qint8."""
    with warnings.catch_warnings(action="ignore"):  # torch warns that these tensors are deprecated
        return torch.quantize_per_tensor(torch.zeros(4000), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("waveform", "rate_hz", "part"),
    [
        (GOOD[:0], 8000, "(0,)"),
        (GOOD.reshape(2, 20, 100), 8000, "(2, 20, 100)"),
        (np.float32(0), 8000, "()"),
        (GOOD.reshape(2000, 2), 8000, "give (channels, samples)"),
        (np.zeros((300, 400), np.float32), 8000, "300 channels"),
        (GOOD[:79], 8000, "shorter than one frame"),
        (GOOD[:10], 48000, "shorter than one frame"),
        (np.full(4000, np.nan), 8000, "NaN"),
        (np.full(4000, np.inf), 8000, "NaN or infinite"),
        (np.full(4000, 1e300), 8000, "NaN or infinite"),
        (np.full(4000, 32767.0), 8000, "32767, but full scale is 1"),
        (GOOD.astype(np.int64), 8000, "not int64"),
        (GOOD.astype(bool), 8000, "not bool"),
        (GOOD.astype(complex), 8000, "not complex128"),
        (["a"], 8000, "not <U1"),
        (GOOD, 0, "sample rate of 0 Hz"),
        (GOOD, -8000, "-8000 Hz"),
        (GOOD, float("nan"), "nan Hz"),
        (GOOD, 8000.5, "8000.5 Hz"),
        (GOOD, 10**9, "1000000000 Hz"),
        (GOOD, None, "not NoneType"),
        (GOOD, "44100", "not str"),
        (GOOD, np.array([8000]), "not ndarray"),
        (GOOD, np.array([8000, 8000]), "not ndarray"),
        (GOOD, torch.tensor([8000, 8000]), "not Tensor"),
        (GOOD, 8000j, "not complex"),
        ([[0.0, 0.1], [0.0]], 8000, "with channels of equal length"),
        ([torch.zeros(4, requires_grad=True)], 8000, "cannot be turned into an array"),
        ([torch.zeros(4, device="meta")] * 2, 8000, "cannot be turned into an array"),
        (None, 8000, "()"),
        (torch.zeros(1, 4000).to_sparse(), 8000, "not a sparse one"),
        (torch.zeros(4000, device="meta"), 8000, "not a meta one"),
        (in_torchs_steps(), 8000, "not torch.qint8"),
        (torch.zeros(4000, dtype=torch.complex64), 8000, "not torch.complex64"),
        (torch.zeros(4000, dtype=torch.complex64).conj(), 8000, "not torch.complex64"),
        (torch.zeros(4000, dtype=torch.bool), 8000, "not torch.bool"),
        (torch.zeros(4000, dtype=torch.int64), 8000, "not torch.int64"),
    ],
)
def test_wrong_input_gives_one_sentence(model: Model, waveform: Any, rate_hz: Any, part: str) -> None:
    with pytest.raises(InputError) as caught:
        model.predict(waveform, rate_hz)
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_a_nested_tensor_is_refused(model: Model) -> None:
    """Not a row of the table above: making one imports a large part of torch, at each collection of the tests."""
    nested = torch.nested.nested_tensor([torch.zeros(400), torch.zeros(300)], layout=torch.jagged)
    with pytest.raises(InputError) as caught:
        model.predict(nested, 8000)  # type: ignore[arg-type]
    assert "not a nested one" in str(caught.value) and "\n" not in str(caught.value)


def test_silence_is_predicted(model: Model) -> None:
    assert sum(model.predict(GOOD, RATE_HZ).probabilities) == pytest.approx(1)


def test_a_file_that_cannot_be_used_is_named(model: Model, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.wav", tmp_path / "cut.wav"
    soundfile.write(whole, chirps(0.6), RATE_HZ)
    path.write_bytes(whole.read_bytes()[:-1000])
    for wrong in (path, tmp_path / "missing.wav"):
        with pytest.raises(InputError) as caught:
            model.predict_file(wrong)
        assert str(caught.value).startswith(f"{wrong}: ") and "\n" not in str(caught.value)
    soundfile.write(path, np.full(3000, np.nan), RATE_HZ, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN"):
        model.predict_file(path)
    assert model.predict_file(whole) == model.predict(soundfile.read(whole)[0], RATE_HZ)


def test_a_missing_model_file_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.safetensors"):
        asc.load(tmp_path / "missing.safetensors")


def test_a_model_says_what_it_is(tiny_model: Path) -> None:
    model = asc.load(tiny_model)
    figures = model.info.evaluation
    assert repr(model) == (
        f"<asc model: residual network, 8 bits, 4 classes, 8,000 Hz, log loss "
        f"{figures.log_loss:.3f}, accuracy {figures.accuracy:.1%} on valid>"
    )


def test_a_model_is_loaded_by_the_name_of_its_run(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = tmp_path / "runs" / "alone" / "best"
    best.mkdir(parents=True)
    (best / "model.safetensors").write_bytes(tiny_model.read_bytes())
    Journal(best.parent / "journal.jsonl").append(RunStarted(name="alone", kind="train", settings={}))
    monkeypatch.chdir(tmp_path)
    assert asc.load("alone").info == asc.load(tiny_model).info


def test_the_version_is_that_of_the_installed_package() -> None:
    assert asc.__version__ == version("acoustic-scene-search")
