"""How calibration changes the log loss on simulated logits of ten classes, and how often it is applied.

    python tests/benchmarks/calibration_sets.py [--seeds N]

A clip's logits come from the ideal classifier of Gaussian scores, so they are calibrated. Part of the noise is shared
within the clip's group. A simulated network returns them unchanged, times 2.5, or mixed by a matrix near 2.5 I. Micro
log losses are on 3,000 clips of other groups: before calibration, with the chosen strength, as shipped (unchanged
unless applied), and without a penalty, as in the report.
"""

import argparse
import time
import warnings
from typing import get_args

import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning

from asc.training.calibrate import Method, fit
from asc.training.regression import Array, Numbers, fit_factors

CLASSES = 10
NETWORKS = ("calibrated", "over-confident", "mixed")
SIZES = ((25, 4), (150, 10))


def scores(generator: np.random.Generator, groups: int, clips: int) -> tuple[Array, Numbers, Numbers]:
    """Simulate n = groups * clips clips, about 70 % of them right.

    Returns calibrated logits (n, CLASSES) float64, class numbers (n,) and group numbers (n,).
    """
    targets = np.repeat(np.arange(groups) % CLASSES, clips)
    names = np.repeat(np.arange(groups), clips)
    noise = generator.normal(size=(groups, CLASSES))[names] * np.sqrt(0.3)
    noise += generator.normal(size=(len(names), CLASSES)) * np.sqrt(0.7)
    distance = 2.2  # in units of the noise; a class's log likelihood ratio is then distance * score
    return distance * (distance * np.eye(CLASSES)[targets] + noise), targets, names


def mixing(generator: np.random.Generator, network: str) -> Array:
    """The matrix (CLASSES, CLASSES) that turns calibrated logits into the network's."""
    match network:
        case "calibrated":
            return np.eye(CLASSES)
        case "over-confident":
            return 2.5 * np.eye(CLASSES)
        case _:
            return 2.5 * (np.eye(CLASSES) + 0.2 * generator.normal(size=(CLASSES, CLASSES)))


def loss(logits: Array, targets: Numbers) -> float:
    """Micro log loss in nats of logits (n, CLASSES) for targets (n,)."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())


def one(seed: int, network: str, groups: int, clips: int, method: Method) -> tuple[float, ...]:
    """Return whether it was applied; held-out losses before, chosen, shipped and without penalty; and fit seconds."""
    generator = np.random.default_rng(seed)
    mix = mixing(generator, network)
    logits, targets, names = scores(generator, groups, clips)
    unseen, truth, _ = scores(generator, 300, 10)
    logits, unseen = logits @ mix.T, unseen @ mix.T
    begin = time.perf_counter()
    chosen = fit(logits, targets, names, method=method, split="calibration")
    seconds = time.perf_counter() - begin
    before, after = loss(unseen, truth), loss(unseen @ chosen.factors.T, truth)
    free = chosen.factors if method == "temperature" else fit_factors(logits, targets, method=method, strength=0.0)
    applied = chosen.report.applied
    return applied, before, after, after if applied else before, loss(unseen @ free.T, truth), seconds


def main() -> None:
    """Print a row per network, size and method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'network':15} {'groups x clips':15} {'method':12} applied  before  chosen shipped no penalty seconds")
    for network in NETWORKS:
        for groups, clips in SIZES:
            for method in get_args(Method):
                applied, *figures = np.mean([one(s, network, groups, clips, method) for s in range(seeds)], axis=0)
                row = "{:7.3f} {:7.3f} {:7.3f} {:10.3f} {:7.2f}".format(*figures)
                print(f"{network:15} {f'{groups} x {clips}':15} {method:12} {applied:7.0%} {row}", flush=True)


if __name__ == "__main__":
    main()
