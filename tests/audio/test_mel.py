"""Mel energies: the compiled loop and torch's operations agree with the sum over all bins."""

import pytest
import torch

from asc.audio import mel
from asc.audio.mel import MelFilters
from asc.audio.torchaudio_compat import melscale_fbanks


@pytest.fixture(params=["as it comes", "torch"])
def _either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(mel, "library", lambda source: None)


@pytest.mark.usefixtures("_either")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("bins", "bands"), [(2049, 128), (129, 40), (65, 3)])
def test_energies_are_sums_of_magnitudes(bins: int, bands: int, threads: int) -> None:
    filters = melscale_fbanks(bins, bands, f_min=0.0, f_max=8000.0, sample_rate=16000, norm=None, mel_scale="slaney")
    spectrum = torch.randn(3, 50, bins, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    expected = spectrum.to(torch.complex128).abs() @ filters.double()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = MelFilters(filters).energies(spectrum.clone(), filters)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_either")
def test_a_filter_without_a_bin_gives_zero_and_one_may_reach_the_last_bin() -> None:
    filters = torch.zeros(20, 3)
    filters[17:, 2] = torch.tensor([0.5, 1.0, 0.25])
    filters[3, 0] = 2.0
    spectrum = torch.complex(torch.full((1, 2, 20), 3.0), torch.full((1, 2, 20), 4.0))
    assert MelFilters(filters).energies(spectrum, filters).tolist() == [[[10.0, 0.0, 8.75]] * 2]
