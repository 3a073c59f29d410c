"""Batch norm and the 8-bit grid as compiled loops (`fused.c`), which read and write a map as few times as they can.

torch goes over the whole map for each operation, and most of a step's time outside convolutions is waiting for memory.
The loops are compiled once for each kind of processor, by the machine's own C compiler, into `$ASC_CACHE` or
`~/.cache/asc`. A machine without a compiler trains with torch's operations: slower, and with the same results up to
rounding.
"""

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

Found = TypeVar("Found")

_SOURCE = Path(__file__).with_suffix(".c")
# All compilers round alike without contraction. The last two say that nothing asks for floating-point exceptions;
# without them, few loops become vector instructions.
_OPTIONS = ("-O3", "-std=c99", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
_PROCESSORS = {"AVX512": ("-march=x86-64-v4",), "AVX2": ("-march=x86-64-v3",)}
"""The compiler's names for what torch says of a processor."""
_NoHome = RuntimeError
"""What `Path.home` raises for a user without a home directory."""
_WORTH_A_THREAD = 2**16
"""Values for which a second thread saves more time than it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """A grid as seen from a map: the value x of a channel is at step round(x * factor + offset).

    Factor and offset are (channels,); steps below `lowest` and above `highest` are clamped; a step is `width` wide.
    """

    factor: Tensor
    offset: Tensor
    lowest: float
    highest: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EightBits:
    """A map on a grid: `steps`, uint8, channels_last; its values are (steps - zero) * scale."""

    steps: Tensor
    zero: int
    scale: float


class Kernels:
    """The functions of `fused.c` over the whole of a map, on all of torch's threads.

    A map is (batch, channels, bins, frames), float32 and channels_last, on a CPU: see `takes`.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        """`library` is the compiled file."""
        self._library = library

    def takes(self, x: Tensor) -> bool:
        """Whether x is such a map."""
        return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and _float_on_cpu(x)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Moments of the parts of a map, (parts, 1 + 2 x channels), and each channel's lowest and highest value.

        For a part, its number of values per channel, then the means, then the biased variances, in float64.
        """

        def of_part(part: Tensor) -> tuple[Tensor, Tensor]:
            mean, squares = torch.empty(2, part.shape[1], dtype=torch.float64)
            extremes = torch.empty(2, part.shape[1])
            self._call("moments", part.numel(), part.shape[1], part, mean, squares, *extremes)
            return torch.cat([mean.new_tensor([len(part)]), mean, squares / len(part)]), extremes

        moments, extremes = zip(*_in_parts(of_part, _rows(x)), strict=True)
        low, high = torch.stack(extremes).unbind(1)
        return torch.stack(moments), low.amin(0), high.amax(0)

    def steps_on_grid(self, x: Tensor, steps: Steps) -> EightBits:
        """A map on the grid, as the steps themselves."""
        y = torch.empty_like(x, dtype=torch.uint8)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, result: Tensor) -> None:
            self._call("steps_on_grid", part.numel(), part.shape[1], part, *grid, result)

        _in_parts(of_part, _rows(x), _rows(y))
        return EightBits(steps=y, zero=-int(steps.lowest), scale=steps.width)

    def on_grid(self, x: Tensor, steps: Steps) -> Tensor:
        """The values of a map on the grid."""
        y = torch.empty_like(x)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest, steps.width

        def of_part(part: Tensor, result: Tensor) -> None:
            self._call("on_grid", part.numel(), part.shape[1], part, *grid, result)

        _in_parts(of_part, _rows(x), _rows(y))
        return y

    def gradient_sums(self, gradient: Tensor, x: Tensor, steps: Steps, mean: Tensor) -> tuple[Tensor, Tensor]:
        """For each channel the sums of g and g (x - mean); g is the gradient where x is not clamped, else 0."""
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, values: Tensor) -> Tensor:
            sums = torch.empty(2, part.shape[1], dtype=torch.float64)
            self._call("gradient_sums", part.numel(), part.shape[1], part, values, *grid, mean, *sums)
            return sums

        sums, products = torch.stack(_in_parts(of_part, _rows(gradient), _rows(x))).sum(0).float()
        return sums, products

    def gradient_of_x(self, gradient: Tensor, x: Tensor, steps: Steps, *terms: Tensor) -> Tensor:
        """The map g weight - (x - mean) slope - constant; `terms` are mean, weight, slope and constant, (channels,)."""
        y = torch.empty_like(x)
        grid = steps.factor, steps.offset, steps.lowest, steps.highest

        def of_part(part: Tensor, values: Tensor, result: Tensor) -> None:
            self._call("gradient_of_x", part.numel(), part.shape[1], part, values, *grid, *terms, result)

        _in_parts(of_part, _rows(gradient), _rows(x), _rows(y))
        return y

    def takes_values(self, x: Tensor, *others: Tensor) -> bool:
        """Whether x is float32 on a CPU and without gaps, and the others lie in the same order."""
        dense = x.is_contiguous() or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
        return dense and _float_on_cpu(x) and all(one.stride() == x.stride() for one in others)

    def grid_and_mask(
        self, x: Tensor, y: Tensor, factor: Tensor, bounds: tuple[Tensor, Tensor], width: Tensor
    ) -> Tensor:
        """Write width * clamp(round(x * factor)) into y, which may be x; return where nothing was clamped, bool.

        Factor, bounds and width are ().
        """
        inside = torch.empty_like(x, dtype=torch.bool)
        grid = [float(one) for one in (factor, *bounds, width)]

        def of_part(part: Tensor, result: Tensor, marks: Tensor) -> None:
            self._call("grid_and_mask", part.numel(), part, *grid, result, marks)

        _in_parts(of_part, _values(x), _values(y), _values(inside))
        return inside

    def masked(self, gradient: Tensor, inside: Tensor) -> Tensor:
        """The gradient where `inside` is true, else 0."""
        y = torch.empty_like(gradient)

        def of_part(part: Tensor, marks: Tensor, result: Tensor) -> None:
            self._call("masked", part.numel(), part, marks, result)

        _in_parts(of_part, _values(gradient), _values(inside), _values(y))
        return y

    def whole_steps(self, x: Tensor, scale: float) -> EightBits | None:
        """A map x = (steps - zero) * scale in 8 bits, or None unless all values are such steps."""
        steps = torch.empty_like(x, dtype=torch.uint8)

        def of_part(part: Tensor, result: Tensor) -> tuple[float, ...]:
            ends = torch.empty(2, dtype=torch.int32)
            whole = self._call("whole_steps", part.numel(), part, 1 / scale, result, ends)
            return tuple(ends.tolist()) if whole else (-math.inf, math.inf)

        lows, highs = zip(*_in_parts(of_part, _values(x), _values(steps)), strict=True)
        lowest, highest = min(0, *lows), max(highs)
        if highest - lowest > 255:
            return None
        return EightBits(steps=steps.add_(int(-lowest)) if lowest < 0 else steps, zero=-int(lowest), scale=scale)

    def values(self, of: EightBits) -> Tensor:
        """The values of a map in 8 bits, in its layout."""
        y = torch.empty_like(of.steps, dtype=torch.float32)

        def of_part(part: Tensor, result: Tensor) -> None:
            self._call("from_steps", part.numel(), part, float(of.zero), of.scale, result)

        _in_parts(of_part, _values(of.steps), _values(y))
        return y

    def _call(self, name: str, *arguments: Tensor | float) -> int:
        """What a function returns; of no use where it returns nothing."""
        returned: int = getattr(self._library, name)(*map(_c_argument, arguments))
        return returned


def _c_argument(value: Tensor | float) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_float(value)


def _float_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0


def _rows(x: Tensor) -> Tensor:
    """A view (rows, channels) of a map (batch, channels, bins, frames) in channels_last."""
    return x.detach().permute(0, 2, 3, 1).view(-1, x.shape[1])


def _values(x: Tensor) -> Tensor:
    """A view of all values of a tensor without gaps, (values,), in the order of memory."""
    return x.detach().as_strided((x.numel(),), (1,))


def _in_parts(function: Callable[..., Found], *maps: Tensor) -> list[Found]:
    """What a function returns for the same rows of each map, for as many parts as there are threads to work on them."""
    count = min(torch.get_num_threads(), 1 + maps[0].numel() // _WORTH_A_THREAD)
    if count == 1:
        return [function(*maps)]
    parts = list(zip(*(torch.tensor_split(one, count) for one in maps), strict=True))
    others = [_threads(os.getpid()).submit(function, *part) for part in parts[1:]]
    return [function(*parts[0]), *(other.result() for other in others)]


@functools.cache
def _threads(process: int) -> ThreadPoolExecutor:
    """Threads of a process; one that was forked off needs its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count())


@functools.cache
def kernels() -> Kernels | None:
    """The compiled functions, or None if this machine cannot compile them. The first call may take two seconds."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    own = _PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), ())
    for options in dict.fromkeys([(*_OPTIONS, *own), _OPTIONS]):  # an older compiler may not know the processor
        with contextlib.suppress(OSError, subprocess.SubprocessError, _NoHome):
            return Kernels(ctypes.CDLL(str(_compiled(compiler, options))))
    return None


def _compiled(compiler: str, options: tuple[str, ...]) -> Path:
    """The compiled file, made unless it is there; others may be making the same at this moment.

    Raises:
        OSError: the folder cannot be written, or somebody else could have put the file there.
        SubprocessError: the compiler fails.
    """
    digest = hashlib.sha256(_SOURCE.read_bytes() + " ".join((compiler, *options, "0700")).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("ASC_CACHE") or Path.home() / ".cache" / "asc") / "compiled"
    compiled = cache / f"fused-{digest}.so"
    if not compiled.exists():
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / compiled.name
            command = [compiler, *options, str(_SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            made.chmod(0o700)
            made.replace(compiled)
    for path in (cache, compiled):
        if path.stat().st_uid != os.getuid() or path.stat().st_mode & 0o022:
            raise PermissionError(f"{path} may be changed by others")
    return compiled
