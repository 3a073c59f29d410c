"""The 16-bit form of a network against the float network it comes from and the size law."""

import pytest
import torch

from asc.config.architecture import Architecture
from asc.config.experiment import Compression, Experiment
from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.models.build import build_network
from asc.models.conversion import to_half
from asc.models.float16 import HalfNet
from asc.models.network import Network
from asc.size.stored_items import stored_items
from asc.topology.describe import describe

ARCHITECTURE = Architecture(
    widths=(8, 12),
    depths=(2, 1),
    se_bottlenecks=(2, 3),
    frequency_strides=(2, 1, 2),
    time_strides=(2, 1, 1),
    cardinality=4,
    classes=5,
)
FRONT_END = FrontEnd(sample_rate_hz=8000, dft_points=512, mel_bands=16)


@pytest.fixture(scope="module")
def network() -> Network:
    """A network trained for 20 steps, so that its batch norms have real statistics."""
    torch.manual_seed(0)
    network = build_network(ARCHITECTURE, FRONT_END, seed=0, storage="float16").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(20):
        log_mel, target = torch.randn(8, 1, 16, 30) * 3, torch.randint(5, (8,))
        loss = torch.nn.functional.cross_entropy(network(log_mel), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize("frames", [7, 30, 101])
def test_it_differs_from_the_float_network_only_by_weight_rounding(network: Network, frames: int) -> None:
    log_mel = torch.randn(6, 1, 16, frames, generator=torch.Generator().manual_seed(frames)) * 3
    with torch.no_grad():
        expected = network(log_mel)
    found = to_half(network)(log_mel)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    step = torch.finfo(torch.float16).eps
    assert (found - expected).abs().max() < 8 * step * expected.abs().max()


def test_its_float16_state_matches_the_size_law_in_order_and_size(network: Network) -> None:
    state = to_half(network).state_dict()
    items = stored_items(
        Experiment(architecture=ARCHITECTURE, front_end=FRONT_END, compression=Compression(storage="float16"))
    )
    assert [(name, t.numel(), t.element_size()) for name, t in state.items()] == [
        (item.name, item.count, item.bytes_each) for item in items
    ]
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}


def test_a_state_read_back_gives_the_same_logits(network: Network) -> None:
    log_mel = torch.randn(4, 1, 16, 30, generator=torch.Generator().manual_seed(2))
    half, again = to_half(network), HalfNet(describe(ARCHITECTURE, FRONT_END.mel_bands), FRONT_END)
    again.load_state_dict(half.state_dict(), strict=True)
    assert torch.equal(again(log_mel), half(log_mel))


def test_values_beyond_the_float16_range_are_clipped() -> None:
    network = build_network(ARCHITECTURE, FRONT_END, seed=0, storage="float16").eval()
    with torch.no_grad():
        network.dense.linear.weight[0, 0] = 1e6
        network.dense.linear.weight[0, 1] = -1e6
    stored = to_half(network).state_dict()["dense.weight"]
    assert stored[0, :2].tolist() == [65504.0, -65504.0]


def test_a_quantised_network_has_no_16_bit_form() -> None:
    with pytest.raises(ValueError, match="int8"):
        to_half(build_network(ARCHITECTURE, FRONT_END, seed=0))


def test_wrong_features_are_refused(network: Network) -> None:
    with pytest.raises(InputError, match="log-mel"):
        to_half(network)(torch.randn(1, 1, 17, 30))
