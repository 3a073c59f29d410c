"""The floor of a training step on this machine, and how near the quantised step is.

    python tests/benchmarks/roofline.py [--recipe NAME] [--crop-s S] [--batch N] [--threads N] [--turns N] [--json]

Floor by arithmetic: three times the multiplications of the forward pass, over the rate of a large float32 matrix
product. (The gradients of weights and of inputs take as many each; that the first layer needs only one of them is left
out.) Floor by memory: the bytes of the maps that must move, over the rate of `copy_` between large maps. For each layer
that writes a map: its inputs are read and its output is written forward; backward its inputs and the gradient of its
output are read, and the gradients of its inputs are written. The floor of the step is their sum, since one core does
both. Batch norm needs two more readings of each map, once forward and once backward, as its statistics must be known
first: `with norms`. Log-mel and the optimiser are not counted.
"""

import argparse
import json
import time
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.models.build import build_network
from asc.size.law import cost
from asc.topology.layers import ConvNorm
from asc.training.memory import kept_memory

FLOAT_BYTES = 4


def fastest(run: Callable[[], object], turns: int, clock: Callable[[], float]) -> float:
    """The fastest of some runs in seconds, after an uncounted one."""
    run()
    found = []
    for _ in range(turns):
        began = clock()
        run()
        found.append(clock() - began)
    return min(found)


def rates(turns: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Multiplications a second of a matrix product, and bytes a second that `copy_` reads and writes."""
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    source = torch.randn(2**24)
    target = torch.empty_like(source)
    product = fastest(lambda: left @ right, turns, clock)
    copy = fastest(lambda: target.copy_(source), turns, clock)
    return 1024**3 / product, 2 * FLOAT_BYTES * source.numel() / copy


def moved(experiment: Experiment, x: Tensor) -> tuple[int, int]:
    """Bytes of maps that a step must move for x, and those that batch norm adds."""
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage="float16").train()
    sizes, needed, norms = {"log_mel": x.numel()}, 0, 0

    def seen(layer, read):  # type: ignore[no-untyped-def]
        nonlocal needed, norms
        y = network._output(layer, read)
        sizes[layer.name] = prod(y.shape)
        inputs = sum(sizes[name] for name in layer.reads)
        needed += (inputs + prod(y.shape)) + (inputs + prod(y.shape)) + inputs
        norms += 2 * prod(y.shape) if isinstance(layer, ConvNorm) else 0
        return y

    with torch.no_grad():
        network.topology.walk(seen, x)
    return FLOAT_BYTES * needed, FLOAT_BYTES * norms


def step_of(experiment: Experiment, x: Tensor) -> Callable[[], None]:
    """A quantised training step on ready-made features."""
    network = build_network(experiment.architecture, experiment.front_end, seed=0).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    targets = torch.arange(len(x)) % experiment.architecture.classes

    def step() -> None:
        loss = functional.cross_entropy(network(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure and print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="qat_8b", metavar="NAME")
    parser.add_argument("--crop-s", type=float, default=3.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    experiment = load_experiment(options.recipe)
    x = torch.randn(options.batch, 1, experiment.front_end.mel_bands, experiment.front_end.frames(options.crop_s))
    macs = 3 * cost(experiment).macs_per_second * options.crop_s * options.batch
    needed, norms = moved(experiment, x)
    with kept_memory():
        macs_rate, bytes_rate = rates(options.turns, clock)
        spent = fastest(step_of(experiment, x), options.turns, clock)
    ms = {
        "arithmetic": macs / macs_rate,
        "memory": needed / bytes_rate,
        "memory with norms": (needed + norms) / bytes_rate,
        "step": spent,
    }
    ms = {name: 1000 * seconds / options.batch for name, seconds in ms.items()}
    floor = ms["arithmetic"] + ms["memory"]
    ratios = {
        "step_over_floor": ms["step"] / floor,
        "step_over_floor_with_norms": ms["step"] / (ms["arithmetic"] + ms["memory with norms"]),
    }
    if options.json:
        print(json.dumps({"ms_a_crop": ms, "macs_per_s": macs_rate, "bytes_per_s": bytes_rate, "ratios": ratios}))
        return
    print(
        f"{options.recipe}: ms a crop of {options.crop_s:g} s, batches of {options.batch}, {options.threads} thread(s)"
    )
    print(f"    {macs_rate / 1e9:.0f} GMAC/s in a matrix product, {bytes_rate / 1e9:.1f} GB/s in copy_")
    for name, value in ms.items():
        print(f"    {name:18s} {value:8.2f}")
    print("    " + ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
