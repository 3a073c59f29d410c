"""Mel energies of spectra: by a compiled loop (`mel.c`) on a CPU, else by torch's operations, alike up to rounding.

The loop keeps a frame's magnitudes in the cache, and skips the zeros that filters mostly consist of.
"""

from pathlib import Path

import torch
from torch import Tensor

from asc.audio.compiled import in_parts, library

_SOURCE = Path(__file__).with_suffix(".c")
_LANES = 16  # as in the C file
_BAND_GROUPS = 4


class MelFilters:
    """Triangular filters (bins, bands), each of which is zero for most bins."""

    def __init__(self, filters: Tensor) -> None:
        """Find the bins that each filter, and each group of filters, reaches."""
        self._groups = _band_groups(filters)
        reached = [_reached(filters[:, band]) for band in range(filters.shape[1])]
        blocks = [-(-(bins.stop - bins.start) // _LANES) for bins in reached]
        self._first = torch.tensor([bins.start for bins in reached])
        self._blocks = torch.tensor(blocks)
        padded = torch.cat([filters, filters.new_zeros(_LANES, filters.shape[1])])
        self._weights = torch.cat(
            [
                padded[bins.start : bins.start + count * _LANES, band]
                for band, (bins, count) in enumerate(zip(reached, blocks, strict=True))
            ]
        )

    def energies(self, spectrum: Tensor, filters: Tensor) -> Tensor:
        """Spectra (batch, frames, bins), complex, to (batch, frames, bands); they are overwritten.

        `filters` are the same filters, on the device of the spectra.
        """
        compiled = library(_SOURCE) if spectrum.device.type == "cpu" and spectrum.dtype == torch.complex64 else None
        values = torch.view_as_real(spectrum)
        if compiled is None or not values.is_contiguous():
            # Three times faster on a CPU than Tensor.abs, which guards against overflow; squares of audio can't.
            squares = values.square_()
            magnitudes = (squares[..., 0] + squares[..., 1]).sqrt_()
            return torch.cat([magnitudes[..., bins] @ filters[bins, bands] for bands, bins in self._groups], dim=-1)
        mel = values.new_empty(*values.shape[:2], len(self._first))
        constants = len(self._first), self._first, self._blocks, self._weights

        def of_part(frames: Tensor, result: Tensor) -> None:
            compiled.call("mel_energies", len(frames), frames.shape[1], frames, *constants, result)

        in_parts(of_part, values.flatten(0, 1), mel.flatten(0, 1))
        return mel


def _reached(filters: Tensor) -> slice:
    """From the first to the last bin where one of the filters, (bins,) or (bins, bands), is not zero."""
    found = filters.view(len(filters), -1).any(dim=1).nonzero().flatten().tolist() or [0]
    return slice(found[0], found[-1] + 1)


def _band_groups(filters: Tensor) -> list[tuple[slice, slice]]:
    """Split the filters (bins, bands) into blocks, returned as slices (bands, bins); all others are zero.

    Most of the matrix is zero; four blocks avoid three quarters of the multiplications.
    """
    groups = []
    for numbers in torch.arange(filters.shape[1]).chunk(_BAND_GROUPS):
        bands = slice(int(numbers[0]), int(numbers[-1]) + 1)
        groups.append((bands, _reached(filters[:, bands])))
    return groups
