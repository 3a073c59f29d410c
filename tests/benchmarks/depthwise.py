"""How near a depthwise 3 x 3 convolution trains to a plain copy of its maps, at the sizes of CP-Mobile.

    python tests/benchmarks/depthwise.py [--batch N] [--crop-s S] [--threads N] [--turns N] [--json]

Training must read x and write y; then read the gradient of y and x, and write that of x: five passes over maps, two of
them of the size of y. `bound` is the time of `copy_` per byte, times the bytes of these passes; weights are too few to
count. Rows: the whole of torch's own path, by layout; its three parts; and the gradient of x as a convolution with
flipped kernels, which exists for stride 1. Memory that is freed is kept, as in training, so that no row pays for fresh
pages. Rows take turns, and the fastest turn of each counts: CPU time with one thread, wall time with more.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from asc.config.recipes.loading import load_experiment
from asc.topology.describe import describe
from asc.topology.layers import ConvNorm
from asc.training.memory import kept_memory

RECIPE = "cp_mobile_dcase2024"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of one depthwise convolution's input."""

    channels: int
    bins: int
    frames: int
    stride: tuple[int, int]


def shapes(crop_s: float) -> list[Shape]:
    """The different depthwise convolutions of the recipe, in order."""
    experiment = load_experiment(RECIPE)
    front_end = experiment.front_end
    frames = round(crop_s * front_end.sample_rate_hz) // front_end.hop_samples
    sizes, found = {"log_mel": (front_end.mel_bands, frames)}, dict[Shape, None]()
    for layer in describe(experiment.architecture, front_end.mel_bands).layers:
        bins, frames = sizes.get(layer.reads[0], (0, 0))
        stride = getattr(layer, "stride", (1, 1))
        sizes[layer.name] = -(-bins // stride[0]), -(-frames // stride[1])
        if isinstance(layer, ConvNorm) and layer.groups > 1:
            found[Shape(channels=layer.inputs, bins=bins, frames=frames, stride=layer.stride)] = None
    return list(found)


def fastest_ms(rows: dict[str, Callable[[], object]], turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """Each row's fastest time in ms over `turns` turns, after an uncounted one."""
    found = dict.fromkeys(rows, float("inf"))
    for turn in range(turns + 1):
        for name, run in rows.items():
            began = clock()
            run()
            spent = 1000 * (clock() - began)
            found[name] = min(found[name], spent) if turn else found[name]
    return found


def measured(shape: Shape, batch: int, turns: int, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds of each row, and of the bound."""
    x = torch.randn(batch, shape.channels, shape.bins, shape.frames)
    flat, weight = x.contiguous(memory_format=torch.channels_last), torch.randn(shape.channels, 1, 3, 3)
    y = convolved(flat, weight, shape.stride)
    gradient, copy = torch.randn_like(y), torch.empty_like(flat)
    rows: dict[str, Callable[[], object]] = {
        "copy": lambda: copy.copy_(flat),
        "whole": lambda: whole(flat, weight, gradient, shape.stride),
        "whole, contiguous": lambda: whole(x, weight, gradient.contiguous(), shape.stride),
        "forward": lambda: convolved(flat, weight, shape.stride),
        "gradient of x": lambda: backward(gradient, flat, weight, shape.stride, [True, False, False]),
        "gradient of the weight": lambda: backward(gradient, flat, weight, shape.stride, [False, True, False]),
    }
    if shape.stride == (1, 1):
        flipped = weight.flip(2, 3)
        rows["gradient of x, flipped"] = lambda: convolved(gradient, flipped, shape.stride)
    found = fastest_ms(rows, turns, clock)
    return {"bound": found["copy"] * (3 * x.numel() + 2 * y.numel()) / (2 * x.numel()), **found}


def convolved(x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """The depthwise convolution of a map (batch, channels, bins, frames)."""
    return functional.conv2d(x, weight, None, stride, 1, 1, len(weight))


def backward(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], wanted: list[bool]) -> object:
    """Those gradients of `convolved` that are wanted: of x, of the weight, of a bias."""
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, (1, 1), (1, 1), False, (0, 0), len(weight), wanted
    )


def whole(x: Tensor, weight: Tensor, gradient: Tensor, stride: tuple[int, int]) -> None:
    """Forward and backward pass by autograd."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    convolved(x, weight, stride).backward(gradient)


def main() -> None:
    """Measure all shapes and print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crop-s", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    with kept_memory():
        found = {shape: measured(shape, options.batch, options.turns, clock) for shape in shapes(options.crop_s)}
    names = [f"{s.channels} x {s.bins} x {s.frames}, stride {s.stride[0]} x {s.stride[1]}" for s in found]
    total = {name: sum(row[name] for row in found.values()) for name in ("bound", "whole")}
    ratios = {
        name: {part: ms / row["bound"] for part, ms in row.items()}
        for name, row in zip(names, found.values(), strict=True)
    }
    summary = {"whole_over_bound": total["whole"] / total["bound"], "by_shape": ratios}
    if options.json:
        print(json.dumps(summary))
        return
    for name, row in zip(names, found.values(), strict=True):
        print(f"batch {options.batch}, {name}")
        for part, ms in row.items():
            print(f"    {part:24s} {ms:8.2f} ms  {ms / row['bound']:6.2f} of the bound")
    print(f"whole_over_bound {summary['whole_over_bound']:.2f} over all shapes, {options.threads} thread(s)")


if __name__ == "__main__":
    main()
