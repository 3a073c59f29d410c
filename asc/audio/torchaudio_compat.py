"""All uses of torchaudio: its resampling and its mel filters, which also work with a CPU-only torch.

The wheels of torchaudio 2.11 (https://pypi.org/project/torchaudio) are linked against CUDA libraries, so with a
CPU-only torch `import torchaudio` raises OSError. Only the native part fails; the functions that asc uses are plain
torch.
"""

import importlib
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Literal, TypeVar, cast

import torch

_Function = TypeVar("_Function", bound=Callable[..., object])
_NATIVE_PART = "torchaudio._extension"
_IMPORTING = threading.Lock()  # two threads must not both repair a failed import


def torchaudio() -> ModuleType:
    """Import torchaudio, with a stand-in for its native part if that cannot be loaded.

    Raises:
        ModuleNotFoundError: torchaudio is not installed.
    """
    with _IMPORTING:
        try:
            return importlib.import_module("torchaudio")
        except OSError:
            return _import_without_native_part()


def resample(waveform: torch.Tensor, orig_freq: int, new_freq: int) -> torch.Tensor:
    """Band-limited resampling of (..., samples) to (..., ceil(samples * new_freq / orig_freq)); only the ratio matters.

    https://docs.pytorch.org/audio/stable/generated/torchaudio.functional.resample.html
    """
    return cast(torch.Tensor, torchaudio().functional.resample(waveform, orig_freq, new_freq))


def melscale_fbanks(
    n_freqs: int,
    n_mels: int,
    *,
    f_min: float,
    f_max: float,
    sample_rate: int,
    norm: Literal["slaney"] | None,
    mel_scale: Literal["slaney", "htk"],
) -> torch.Tensor:
    """Triangular mel filters (n_freqs, n_mels) on a linear frequency axis from 0 to half of `sample_rate`, all in Hz.

    https://docs.pytorch.org/audio/stable/generated/torchaudio.functional.melscale_fbanks.html
    """
    filters = torchaudio().functional.melscale_fbanks(n_freqs, f_min, f_max, n_mels, sample_rate, norm, mel_scale)
    return cast(torch.Tensor, filters)


def _import_without_native_part() -> ModuleType:
    _forget()  # the failed import leaves some submodules in sys.modules
    sys.modules[_NATIVE_PART] = _stand_in()
    try:
        return importlib.import_module("torchaudio")
    except BaseException:
        _forget()
        raise


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]


def _stand_in() -> ModuleType:
    module = ModuleType(_NATIVE_PART, "Stands in for torchaudio's native part, which this torch can't load.")
    vars(module).update(_IS_TORCHAUDIO_EXT_AVAILABLE=False, fail_if_no_align=_unchanged)
    return module


def _unchanged(function: _Function) -> _Function:
    return function
