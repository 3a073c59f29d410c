"""ExecuTorch runs what was built, at several lengths; of the extra `executorch`."""

import pytest
import torch
from tiny_networks import trained

from asc.config import Experiment
from asc.data.dataset import Dataset
from asc.export.decomposed import shortest_frames
from asc.export.executorch import ExecutorchSession, build_executorch
from asc.quant.integer import IntegerNet

pytest.importorskip("executorch.runtime", reason='needs pip install -e ".[executorch]"')
# Lowering takes half a minute of processor time, and so many minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)


def test_a_program_agrees_within_one_step_at_any_length(tiny_experiment: Experiment, tiny_dataset: Dataset) -> None:
    network = trained(tiny_experiment, tiny_dataset, storage="int8")
    assert isinstance(network, IntegerNet)
    data = build_executorch(network, longest_frames=100)
    session = ExecutorchSession(data)
    generator, seen = torch.Generator().manual_seed(1), set()
    for frames in (shortest_frames(network), 17, 40, 99, 100):
        log_mel = torch.randn(1, 1, 16, frames, generator=generator) * 3
        stored, found = network(log_mel), torch.from_numpy(session.logits(log_mel.numpy()))
        assert float(((found - stored) / network.dense.output.scale).abs().max()) < 1.01
        seen |= set(stored.flatten().tolist())
    assert len(seen) > 5
