"""ExecuTorch runs the exported program at several lengths; needs the extra `executorch`."""

import subprocess
import sys

import pytest
import torch
from tiny_networks import FAMILIES, trained

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.executorch import ExecutorchSession, build_executorch
from asc.export.gate import agreement, allowed
from asc.export.graph import shortest_frames
from asc.models.integer import IntegerNet

pytest.importorskip("executorch.runtime", reason='needs pip install -e ".[executorch]"')
# Lowering takes half a minute of processor time, and minutes on a busy machine.
pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("normalisation", ["mean_over_time", "per_band"])
def test_a_program_agrees_within_one_step_at_any_length(
    tiny_experiment: Experiment, tiny_dataset: Dataset, normalisation: str
) -> None:
    experiment = tiny_experiment.updated({"front_end.normalisation": normalisation})
    network = trained(experiment, tiny_dataset, storage="int8")
    assert isinstance(network, IntegerNet)
    mean = network.get_buffer("bands.mean")[:, None] if normalisation == "per_band" else 0.0
    data = build_executorch(network, longest_frames=100)
    session = ExecutorchSession(data)
    generator, seen = torch.Generator().manual_seed(1), set()
    for frames in (shortest_frames(network), 17, 40, 99, 100):
        log_mel = torch.randn(1, 1, 16, frames, generator=generator) * 3 + mean
        stored, found = network(log_mel), torch.from_numpy(session.logits(log_mel.numpy()))
        assert float(((found - stored) / network.dense.output.scale).abs().max()) < 1.01
        seen |= set(stored.flatten().tolist())
    assert len(seen) > 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_in_16_bits_agrees_to_rounding_at_any_length(
    tiny_experiment: Experiment, tiny_dataset: Dataset, family: str
) -> None:
    network = trained(tiny_experiment.updated(FAMILIES[family]), tiny_dataset, storage="float16")
    session = ExecutorchSession(build_executorch(network, longest_frames=100))
    generator = torch.Generator().manual_seed(1)
    for frames in (shortest_frames(network), 17, 40, 99, 100):
        log_mel = torch.randn(1, 1, 16, frames, generator=generator) * 3
        stored, found = network(log_mel).numpy(), session.logits(log_mel.numpy())
        assert agreement(found, stored, allowed(network, stored, source="log_mel")).passed


FRESH = """
import torch
from asc.config.architecture import Architecture
from asc.config.front_end import FrontEnd
from asc.export.executorch import ExecutorchSession, build_executorch
from asc.models.build import build_network
from asc.models.conversion import to_integer

architecture = Architecture(
    widths=(8,), depths=(1,), se_bottlenecks=(2,), frequency_strides=(2,), time_strides=(2,), classes=4, cardinality=2
)
built = build_network(architecture, FrontEnd(mel_bands=16), seed=0).train()
built(torch.randn(2, 1, 16, 60))
session = ExecutorchSession(build_executorch(to_integer(built), longest_frames=50))
assert session.logits(torch.zeros(1, 1, 16, 50).numpy()).shape == (1, 4)
"""


def test_messages_of_the_converter_are_not_printed() -> None:
    finished = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
