"""LiteRT runs what was built, on the stored grids; of the extra `litert`."""

import pytest
import torch
from tiny_networks import trained

from asc.config import Experiment
from asc.data.dataset import Dataset
from asc.export.clips import fitted
from asc.export.litert import LitertSession, build_litert
from asc.frontend import LogMel
from asc.quant.integer import IntegerNet

pytest.importorskip("litert_torch", reason='needs pip install -e ".[litert]"')


def test_a_file_agrees_within_one_step_and_has_the_stored_grids(
    tiny_experiment: Experiment, tiny_dataset: Dataset
) -> None:
    network = trained(tiny_experiment, tiny_dataset, storage="int8")
    assert isinstance(network, IntegerNet)
    session = LitertSession(build_litert(network, frames=50))
    assert session.input.shape == (1, 1, 16, 50)
    for grid, stored in ((session.input, network.input), (session.output, network.dense.output)):
        assert grid.scale == pytest.approx(float(stored.scale), rel=1e-6)
        assert grid.zero_point == int(stored.zero_point) - 128
    assert {"CONV_2D", "FULLY_CONNECTED", "QUANTIZE"} <= set(session.operators)
    log_mels, seen = LogMel(network.front_end), set()
    for clip in tiny_dataset.indices("valid"):
        waveform = torch.from_numpy(fitted(tiny_dataset.waveform(int(clip)), 4000, 4000)[None])
        waveform[:, 1000:] *= 0.001  # means beyond their grid: the deviation must not be taken from clamped ones
        log_mel = log_mels(waveform)
        stored_logits, found = network(log_mel), torch.from_numpy(session.logits(log_mel.numpy()))
        assert float(((found - stored_logits) / network.dense.output.scale).abs().max()) < 1.01
        seen |= set(stored_logits.flatten().tolist())
    assert len(seen) > 5
