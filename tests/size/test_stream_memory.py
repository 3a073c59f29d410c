"""The memory of a stream as computed from the config, against a stream that runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_networks import stored_network

import asc
from asc.config.experiment import Experiment
from asc.inference.predict import Model
from asc.inference.stream import Follower
from asc.size.stream_memory import kept_bytes, kept_frames, longest_run_frames


@pytest.fixture(scope="module", params=["none", "stages"])
def model(tiny_model: Path, request: pytest.FixtureRequest) -> Model:
    """The tiny model, or an untrained one of its sizes with residual norms."""
    loaded = asc.load(tiny_model)
    if request.param == "none":
        return loaded
    experiment = loaded.info.experiment.updated({"architecture.residual_norm": request.param})
    return Model(stored_network(experiment), replace(loaded.info, experiment=experiment))


@pytest.mark.parametrize(("window_s", "every_s"), [(4.0, 1.0), (3.0, 0.5), (1.0, 0.1)])
def test_run_lengths_and_kept_bytes_match_the_prediction(
    model: Model, window_s: float, every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(model, window_s, every_s, monkeypatch)


def test_a_residual_normalisation_keeps_squares_too(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    residual = model.info.experiment.updated({"front_end.normalisation": "residual"})
    check(Model(model.network, replace(model.info, experiment=residual)), 3.0, 0.5, monkeypatch)
    more = kept_bytes(residual, window_s=3.0, every_s=0.5) - kept_bytes(
        model.info.experiment, window_s=3.0, every_s=0.5
    )
    assert more == 8 * 16 * 7, "the squares of 16 bands in 6 pieces and in the window"


def check(model: Model, window_s: float, every_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, front_end = model.info.experiment.architecture, model.info.experiment.front_end
    last_map, seen = model.network.last_map, []

    def watched(log_mel: torch.Tensor, *poolings: Any) -> torch.Tensor:
        seen.append(log_mel.shape[3])
        found: torch.Tensor = last_map(log_mel, *poolings)
        return found

    monkeypatch.setattr(model.network, "last_map", watched)
    follower = Follower(model, front_end.sample_rate_hz, window_s=window_s, every_s=every_s)
    noise = np.random.default_rng(0).standard_normal(round(3 * window_s * front_end.sample_rate_hz))
    follower.feed((0.1 * noise).astype(np.float32))
    said = longest_run_frames(Experiment(architecture=architecture, front_end=front_end), every_s=every_s)
    stride = int(np.prod(architecture.time_strides))
    assert said - stride < max(seen) <= said

    kept = [sums for piece in follower._pieces for sums in piece.sums] + follower._totals
    frames = kept_frames(Experiment(architecture=architecture, front_end=front_end), window_s=window_s, every_s=every_s)
    counted = sum(sums.values.nbytes for sums in kept) + 4 * front_end.mel_bands * frames
    assert counted == kept_bytes(
        Experiment(architecture=architecture, front_end=front_end), window_s=window_s, every_s=every_s
    )
