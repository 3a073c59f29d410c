"""Layers in float for both converters, against those of the stored forms."""

import pytest
import torch
from torch import nn

from asc.config.front_end import FrontEnd
from asc.export.float_parts import CONVERTERS, Converter, Residual, SubSpectral, parameterless_for
from asc.models.float16 import HalfNet
from asc.models.layered import parameterless
from asc.models.layers import ResidualNorm
from asc.topology.layers import Dense, FrequencyMean, Input, MaxPool, MeanPool, SubSpectralConv
from asc.topology.topology import Topology


@pytest.mark.parametrize("size", [(2, 2), (1, 3), (4, 1)])
@pytest.mark.parametrize("converter", CONVERTERS)
def test_a_max_pool_keeps_cut_windows_at_every_length(converter: Converter, size: tuple[int, int]) -> None:
    layer = MaxPool(name="pool", reads=("log_mel",), stride=size, grid="input")
    for bins, frames in ((4, 3), (5, 4), (7, 11), (8, 12)):
        x = torch.randn(2, 3, bins, frames, generator=torch.Generator().manual_seed(frames)) - 5
        assert torch.equal(parameterless_for(layer, converter)(x), parameterless(layer)(x))


def test_means_that_are_written_for_executorch_are_those_of_the_stored_forms() -> None:
    x = torch.randn(2, 6, 5, 9, generator=torch.Generator().manual_seed(0)) * 3 - 1
    mean = FrequencyMean(name="mean", reads=("input",))
    torch.testing.assert_close(parameterless_for(mean, "executorch")(x), parameterless(mean)(x))
    stored = ResidualNorm(0.3)
    for converter in CONVERTERS:
        torch.testing.assert_close(Residual(stored, converter=converter)(x, x), stored(x))


# 41 bins to a band: in float32, 41 times a 41st is less than one.
@pytest.mark.parametrize(("bins", "bands", "values"), [(16, 4, 4), (15, 3, 3), (82, 2, 82)])
def test_each_band_gets_its_own_factor_and_offset(bins: int, bands: int, values: int) -> None:
    layer = SubSpectralConv(name="map", reads=("input",), channels=3, bands=bands)
    layers = (
        Input(name="input"),
        layer,
        MeanPool(name="pool", reads=("map",)),
        Dense(name="dense", reads=("pool",), inputs=3, outputs=2),
    )
    stored: nn.Module = HalfNet(Topology(layers=layers, bins=bins), FrontEnd(mel_bands=bins)).get_submodule("map")
    generator = torch.Generator().manual_seed(bins)
    stored.load_state_dict({name: torch.randn(x.shape, generator=generator) for name, x in stored.state_dict().items()})
    module, x = SubSpectral(layer, stored, bins=bins), torch.randn(1, 3, bins, 7, generator=generator)
    assert torch.equal(module(x), stored(x))
    assert module.scale.shape == (1, 3, values, 1)
