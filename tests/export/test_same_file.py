"""Exports, given unrounded float samples as a user decodes them, agree with asc's prediction of the same file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from tiny_networks import info_of, trained

from asc.config.experiment import Experiment, Storage
from asc.data.dataset import Dataset
from asc.export.formats import Format, makers
from asc.export.onnx import OnnxSession, build_onnx
from asc.inference.predict import Model
from asc.models.integer import IntegerNet

FILES, SECONDS = 12, 3
EXTRAS = {"executorch": "executorch.runtime", "litert": "litert_torch"}
# The converters take half a minute of processor time, and minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)


def decoded(path: Path) -> NDArray[np.float32]:
    """The samples of a file (samples,), full scale 1."""
    sound: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return sound


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Float sounds whose second half is far below the last of 16 bits."""
    folder, random = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    paths = []
    for number in range(FILES):
        time_s = np.arange(SECONDS * 8000) / 8000
        sound = 0.1 * random.standard_normal(len(time_s)) * (np.sin(2 * np.pi * (1 + number) * time_s) > 0)
        sound += 0.2 * np.sin(2 * np.pi * 180 * (1 + number) * time_s)
        sound[len(sound) // 2 :] = 2e-6 * random.standard_normal(len(sound) // 2)
        paths.append(folder / f"{number}.wav")
        soundfile.write(paths[-1], sound.astype(np.float32), 8000, subtype="FLOAT")
    return paths


def with_floor(experiment: Experiment, *, noise_steps: float, storage: Storage) -> Experiment:
    front_end = dataclasses.replace(experiment.front_end, noise_steps=noise_steps)
    compression = dataclasses.replace(experiment.compression, storage=storage)
    return dataclasses.replace(experiment, front_end=front_end, compression=compression)


def model_of(experiment: Experiment, dataset: Dataset) -> Model:
    network = trained(experiment, dataset, storage=experiment.compression.storage)
    return Model(network, info_of(experiment, dataset, network))


def assert_same_predictions(model: Model, found: NDArray[np.float32], files: list[Path], *, steps: float) -> None:
    """Check logits, (files, classes), against `predict_file`, allowing `steps` output steps or 0.1 % in float16."""
    tolerance = 1e-3 * np.abs(found).max()
    if isinstance(model.network, IntegerNet):
        tolerance = steps * float(model.network.dense.output.scale) * 1.001
    for logits, path in zip(found.astype(np.float64), files, strict=True):
        prediction = model.predict_file(path)
        expected = np.log(prediction.probabilities)
        centred = logits - np.logaddexp.reduce(logits)
        np.testing.assert_allclose(centred, expected, rtol=0, atol=2 * tolerance)
        first, second = np.sort(logits)[[-1, -2]]
        if first - second > 2 * tolerance:
            assert model.labels[int(logits.argmax())] == prediction.label


@pytest.mark.parametrize("noise_steps", [0.0, 2.0])
@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_the_waveform_export_rounds_like_predict(
    tiny_experiment: Experiment, tiny_dataset: Dataset, files: list[Path], storage: Storage, noise_steps: float
) -> None:
    model = model_of(with_floor(tiny_experiment, noise_steps=noise_steps, storage=storage), tiny_dataset)
    session = OnnxSession(build_onnx(model.network, model.info, source="waveform"))
    found = np.stack([session.logits(decoded(path)[None])[0] for path in files])
    assert_same_predictions(model, found, files, steps=2)


@pytest.mark.parametrize(
    ("to", "storage"), [(to, storage) for to in ("onnx", *EXTRAS) for storage in ("int8", "float16")]
)
def test_with_a_noise_floor_log_mel_of_unrounded_samples_gives_the_same_prediction(
    tiny_experiment: Experiment, tiny_dataset: Dataset, files: list[Path], to: Format, storage: Storage
) -> None:
    if to in EXTRAS:
        pytest.importorskip(EXTRAS[to], reason=f'needs pip install -e ".[{to}]"')
    moved = {}
    for noise_steps in (0.0, 2.0):
        model = model_of(with_floor(tiny_experiment, noise_steps=noise_steps, storage=storage), tiny_dataset)
        build, *_ = makers(model.network, model.info, [to], seconds=SECONDS).values()
        session = build().session
        with torch.inference_mode():
            features = [model.log_mel(torch.from_numpy(decoded(path))[None]).numpy() for path in files]
        found = torch.softmax(torch.from_numpy(np.stack([session.logits(x)[0] for x in features])), dim=1).numpy()
        expected = np.stack([model.predict_file(path).probabilities for path in files])
        moved[noise_steps] = np.abs(expected - found).max()
    assert moved[2.0] < 0.03
    assert moved[0.0] > 2 * moved[2.0], "without a noise floor, rounding must matter"
