"""Convolutions of 8-bit integers: exact sums, whatever the strides and groups, and what is left to float32."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.models import integer_units
from asc.models.fused import EightBits
from asc.models.integer_units import IntegerConvolution, available, in_eight_bits, takes_layer

needs_units = pytest.mark.skipif(not available(), reason="no VNNI, or AMX, or no C compiler")
ONE, SCALE = torch.tensor(1.0), torch.tensor(0.37)
CONVOLUTIONS = [
    nn.Conv2d(24, 24, 3, (2, 2), 1),
    nn.Conv2d(24, 48, 3, 1, 1, groups=4),
    nn.Conv2d(16, 16, 3, (1, 2), 1, groups=16),
    nn.Conv2d(5, 7, (1, 3), (1, 2), (0, 1)),
    nn.Conv2d(6, 9, (3, 1), (2, 1), (2, 0), dilation=(2, 1), groups=3),
    nn.Conv2d(8, 12, 5, (2, 2), 2),
]


def steps(channels: int, lowest: int, bins: int = 21, frames: int = 33) -> Tensor:
    """A map of whole numbers, all of those from `lowest` to `lowest` + 255 among them."""
    generator = torch.Generator().manual_seed(channels)
    found = torch.randint(lowest, lowest + 256, (3, channels, bins, frames), generator=generator).float()
    found.view(-1)[:256] = torch.arange(lowest, lowest + 256)
    return found.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """What is remembered of the processor is forgotten before and after."""
    available.cache_clear()
    yield
    available.cache_clear()


@needs_units
@pytest.mark.parametrize("lowest", [0, -1, -37, -255])
@pytest.mark.parametrize("conv", CONVOLUTIONS, ids=str)
def test_sums_are_exact(conv: nn.Conv2d, lowest: int) -> None:
    x = steps(conv.in_channels, lowest)
    weight = torch.randint(-127, 128, conv.weight.shape, generator=torch.Generator().manual_seed(1)).to(torch.int8)
    bias = torch.arange(len(weight)) * 1000.0
    eight_bits = in_eight_bits(x * SCALE, SCALE)
    assert eight_bits is not None and eight_bits.zero == -lowest
    found = IntegerConvolution(weight=weight, shape=conv)
    expected = functional.conv2d(
        *(x.double(), weight.double(), bias.double()), conv.stride, conv.padding, conv.dilation, conv.groups
    )
    for _ in range(2):  # the second time the weight is laid out already
        assert torch.equal(found(eight_bits, torch.ones(len(weight)), bias).double(), expected)
    other = in_eight_bits(steps(conv.in_channels, 0), ONE)
    assert other is not None and other.zero == 0
    expected = functional.conv2d(
        *(other.steps.double(), weight.double(), None), conv.stride, conv.padding, conv.dilation, conv.groups
    )
    assert torch.equal(found(other, torch.ones(len(weight)), None).double(), expected)


@needs_units
def test_maps_that_are_left_to_float32() -> None:
    x = steps(24, 0)
    assert isinstance(in_eight_bits(x, ONE), EightBits)
    assert in_eight_bits(x.contiguous(), ONE) is None
    assert in_eight_bits(x.double(), ONE) is None
    assert in_eight_bits(x[..., :7].contiguous(memory_format=torch.channels_last), ONE) is None
    assert in_eight_bits(x[:, :1].contiguous(memory_format=torch.channels_last), ONE) is None


@needs_units
@pytest.mark.parametrize("value", [0.3, 256.0, -1.0, 1e9, float("nan"), float("inf"), -float("inf")])
def test_values_that_are_on_no_grid_of_eight_bits_are_left_to_float32(value: float) -> None:
    x = steps(24, 0)
    x[1, 2, 3, 4] = value
    assert in_eight_bits(x, ONE) is None


def test_groups_of_one_input_with_many_outputs_are_left_to_float32() -> None:
    assert takes_layer(torch.zeros(64, 1, 3, 3), 2) and takes_layer(torch.zeros(66, 2, 3, 3), 1)
    assert not takes_layer(torch.zeros(66, 1, 3, 3), 2)


@pytest.mark.usefixtures("asked_anew")
@pytest.mark.parametrize("missing", [{"avx512_vnni": False}, {"amx_int8": True}, {}], ids=str)
def test_other_processors_convolve_floats(missing: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"avx512_vnni": True, "amx_int8": False, **missing} if missing else {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert not available() and in_eight_bits(steps(24, 0), ONE) is None


@needs_units
@pytest.mark.usefixtures("asked_anew")
def test_a_torch_whose_operators_give_other_sums_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_units.IntegerConvolution, "__call__", lambda *_: torch.zeros(2, 24, 5, 10))
    assert not available()
