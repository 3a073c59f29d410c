"""Layers of the integer form: exact sums, in float64 where float32 is not enough, and outputs on their grid."""

import copy

import torch
from torch.nn import functional

from asc.models.fused import EightBits
from asc.models.integer_layers import EXACT_IN_FLOAT32, IntegerLayer, IntegerQuantiser, IntegerSubSpectral, in_floats
from asc.models.integer_units import convolves


def test_integer_sums_are_exact():
    layer = filled(IntegerLayer((6, 5, 3, 3), stride=(2, 1), padding=(1, 1)), seed=0)
    steps = torch.randint(-90, 166, (2, 5, 9, 8), generator=torch.Generator().manual_seed(1)).float()
    patches = functional.unfold(steps.double(), 3, padding=1, stride=(2, 1)).long()
    expected = layer.weight.long().flatten(1) @ patches + layer.bias.long()[:, None]
    sums = layer.accumulate(steps)
    assert sums.dtype == torch.float32
    assert torch.equal(sums.long().flatten(2), expected)


def test_sums_too_large_for_float32_use_float64():
    layer = filled(IntegerLayer((3, 4000)), seed=2)
    layer.weight[0] = 127
    layer.bias[0] = 1
    steps = torch.full((1, 4000), 255.0)
    assert layer.largest_sum() == 127 * 255 * 4000 + 1 >= EXACT_IN_FLOAT32
    sums = layer.accumulate(steps)
    assert sums.dtype == torch.float64
    assert sums.long().tolist() == [
        [127 * 255 * 4000 + 1, *(layer.weight[1:].long().sum(1) * 255 + layer.bias[1:]).tolist()]
    ]


def filled(layer, *, seed):
    generator = torch.Generator().manual_seed(seed)
    layer.weight.copy_(torch.randint(-127, 128, layer.weight.shape, generator=generator))
    layer.bias.copy_(torch.randint(-100_000, 100_000, layer.bias.shape, generator=generator))
    return layer


def test_other_weights_biases_and_scales_count_at_once():
    layer, scale = filled(IntegerLayer((6, 5, 3, 3), padding=(1, 1)), seed=3), torch.tensor(0.5)
    steps = torch.randint(-90, 166, (2, 5, 9, 8), generator=torch.Generator().manual_seed(1)).float()
    layer.output.scale.fill_(50_000.0)
    before = layer(steps, scale)
    for change in (layer.weight.neg_, lambda: layer.bias.add_(70_000), lambda: layer.weight_scale.mul_(2), scale.neg_):
        change()
        found, fresh = layer(steps, scale), copy.deepcopy(layer)(steps, scale)
        assert torch.equal(found, fresh) and not torch.equal(found, before)
        before = found
    layer.weight.fill_(127)
    layer.bias.fill_(2**24)
    assert layer.accumulate(steps).dtype == torch.float64


def test_a_sub_spectral_layer_gives_each_band_its_own_factor_and_offset() -> None:
    """Against sums in integers and float64, bin by bin."""
    generator = torch.Generator().manual_seed(4)
    layer = IntegerSubSpectral(3, 2, kernel=(3, 1), stride=(2, 1))
    layer.weight.copy_(torch.randint(-127, 128, (3, 1, 3, 1), generator=generator))
    layer.band_scale.copy_(0.01 * torch.randn(6, generator=generator))
    layer.band_shift.copy_(torch.randn(6, generator=generator))
    layer.output.scale.fill_(0.5)
    layer.output.zero_point.fill_(120)
    steps = torch.randint(-100, 101, (2, 3, 8, 5), generator=generator).float()
    found = layer(steps, torch.tensor(0.1))
    padded = functional.pad(steps, (0, 0, 1, 1)).long()
    for channel in range(3):
        for bin_ in range(4):
            window = padded[:, channel, 2 * bin_ : 2 * bin_ + 3]
            sums = (window * layer.weight[channel, 0].long()).sum(1).double()
            band = 2 * channel + bin_ // 2
            real = sums * 0.1 * float(layer.band_scale[band]) + float(layer.band_shift[band])
            expected = (real / 0.5).clamp(-120, 135)
            assert (found[:, channel, bin_] - expected).abs().max() <= 0.5 + 1e-3


def test_a_nan_of_a_large_map_stays_one_as_it_does_of_a_small_one():
    x = torch.randn(2, 24, 16, 32).contiguous(memory_format=torch.channels_last)
    grid, layer = IntegerQuantiser(), filled(IntegerLayer((24, 24, 3, 3), padding=(1, 1)), seed=5)
    layer.output.scale.fill_(50_000.0)
    finite = layer(grid.of_map(x), grid.scale)
    assert isinstance(finite, EightBits) == convolves(x), "the processor's integer units take it, if it has them"
    x[1, 2, 3, 4] = float("nan")
    steps = grid.of_map(x)
    assert torch.equal(in_floats(steps).isnan(), x.isnan())
    found, expected = in_floats(layer(steps, grid.scale)), in_floats(finite)
    assert found[1, :, 2:5, 3:6].isnan().all() and found.isnan().sum() == 24 * 9
    assert torch.equal(found[0], expected[0])
