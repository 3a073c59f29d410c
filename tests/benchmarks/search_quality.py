"""Compare search strategies by replaying searches on recorded curves.

    python tests/benchmarks/search_quality.py [--space robust128] [--half report] [--only NAME...] [--traces FILE]

A surrogate (`surrogate.py`) is fitted on one half of the recorded points (`curves.jsonl.gz`), and every strategy
searches in the same 30 worlds, with two workers. The log loss reached is that of the network that a search would
save, without the noise of its seed; the best value that a search has seen is lower. `--half tuning --first-seed 0` is
for choosing defaults; what was chosen is then judged on `--half report`: other points, and other seeds.
"""

import argparse
import heapq
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from curves import FILE, Curve, read
from numpy.typing import NDArray
from portfolio import best_points
from record_curves import reference
from strategies import Loop, Real, Strategy, Work
from strategy_models import LastValue, Model, Quantile, Shift
from strategy_others import Dehb, SyneTune
from strategy_rules import Promoting, Rule, Stopping, TopK, Whole
from strategy_samplers import GaussianProcess, PlainTPE, PriorBand, Random, Sampler
from surrogate import EPOCHS, Surrogate, World

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.search.local_search import LocalSearch
from asc.search.sampler import LOCAL, sampler_of
from asc.search.settings import Asha
from asc.typed import Scalar

WORKERS = 2
GROWING, EQUAL = (1, 5), (7, 14)
DEHB, SYNE_TUNE = ("dehb",), ("syne_tune", "huggingface_hub")  # Syne Tune's wheel does not ask for the latter
Numbers = NDArray[np.float64]
Trace = list[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a strategy is made for: a space, the reference before repair, a seed, and points to try first."""

    space: Space
    base: Experiment
    seed: int
    known: tuple[Mapping[str, Scalar], ...] = ()


Made = Callable[[Setting], Strategy]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A strategy of the table: after which epochs it compares trials, and how it is made.

    Those that others are measured against (`whole`) search for all epochs, the others for half of them. `known` is how
    many points it tries first, which are the best of the other half of the recorded points. `needs` are packages that
    are not asc's own: the strategy is left out where they cannot be imported.
    """

    rungs: tuple[int, ...]
    make: Made
    whole: bool = False
    known: int = 0
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The packages that cannot be imported here."""
        return [package for package in self.needs if find_spec(package) is None]


def asc_sampler(space: Space, seed: int, *, local: LocalSearch | None = None) -> Sampler:
    """asc's sampler, for a search of many trials; TPE alone unless told otherwise."""
    return sampler_of(space, seed=seed, trials=1000, local=local)


def near(share: float) -> Callable[[Space, int], Sampler]:
    """asc's sampler with a share of points near the best after the first twenty, in steps as PriorBand's."""
    return partial(asc_sampler, local=LocalSearch(share=share, after=20, changed=0.5, sigma=0.25))


def asc(asha: Asha, factor: int, *, local: LocalSearch | None = None) -> Made:
    """asc's own conductor; TPE alone unless told otherwise."""
    return lambda one: Real(one.space, one.base, one.seed, asha=asha, factor=factor, known=one.known, local=local)


def loop(
    sampler: Callable[[Space, int], Sampler],
    rule: Callable[[], Rule],
    *,
    reject: bool = False,
    model: Callable[[], Model] | None = None,
) -> Made:
    """A strategy of these parts."""
    return lambda one: Loop(
        one.space,
        one.base,
        sampler(one.space, one.seed),
        rule(),
        reject=reject,
        model=model() if model else None,
        known=one.known,
    )


def promoting() -> Rule:
    """Pause at each rung, promote the best quarter."""
    return Promoting(GROWING, 4)


def late() -> Rule:
    """Pause at the second rung only."""
    return Promoting(GROWING[1:], 4)


def stopping() -> Rule:
    """Stop all but the best quarter at each rung."""
    return Stopping(GROWING, 4)


def halving() -> Rule:
    """Stop the worse half at each rung of equal cycles, as asc does by default."""
    return Stopping(EQUAL, 2)


def dehb(rungs: tuple[int, ...]) -> Made:
    """DEHB, with a quarter of the networks at each longer training."""
    return lambda one: Dehb(one.space, one.base, one.seed, first=rungs[0], factor=4)


def syne_tune(rungs: tuple[int, ...]) -> Made:
    """Syne Tune's ASHACQR, which stops all but the best quarter at each rung."""
    return lambda one: SyneTune(one.space, one.base, one.seed, first=rungs[0], factor=4)


ENTRIES: dict[str, Entry] = {
    "random": Entry(rungs=(), make=loop(Random, Whole), whole=True),
    "asc": Entry(rungs=EQUAL, make=asc("stopping", 2, local=LOCAL), whole=True),
    "asc, 4 known": Entry(rungs=EQUAL, make=asc("stopping", 2, local=LOCAL), known=4),
    "asc, 8 known": Entry(rungs=EQUAL, make=asc("stopping", 2, local=LOCAL), known=8),
    "asc before": Entry(rungs=EQUAL, make=asc("stopping", 2), whole=True),
    "random, ASHA": Entry(rungs=GROWING, make=loop(Random, stopping)),
    "random, promotion": Entry(rungs=GROWING, make=loop(Random, promoting)),
    "TPE as it comes, rejecting": Entry(rungs=(), make=loop(PlainTPE, Whole, reject=True)),
    "TPE, repair, ASHA": Entry(rungs=GROWING, make=loop(PlainTPE, stopping)),
    "top 2 of 40 after 1 epoch": Entry(rungs=GROWING, make=loop(Random, lambda: TopK(1, many=40, top=2))),
    "top 2 of 40 after 5 epochs": Entry(rungs=GROWING, make=loop(Random, lambda: TopK(5, many=40, top=2))),
    "PriorBand, promotion": Entry(rungs=GROWING, make=loop(PriorBand, promoting)),
    "asc, stopping": Entry(rungs=GROWING, make=asc("stopping", 4)),
    "asc, promotion": Entry(rungs=GROWING, make=asc("promotion", 4)),
    "asc, promotion, equal cycles": Entry(rungs=EQUAL, make=asc("promotion", 4)),
    "asc, promotion, factor 2": Entry(rungs=GROWING, make=asc("promotion", 2)),
    "asc, promotion, factor 3": Entry(rungs=GROWING, make=asc("promotion", 3)),
    "asc, promotion, factor 6": Entry(rungs=GROWING, make=asc("promotion", 6)),
    "asc, promotion, first rung after 5": Entry(rungs=GROWING[1:], make=loop(asc_sampler, late)),
    "random, promotion, first rung after 5": Entry(rungs=GROWING[1:], make=loop(Random, late)),
    "told: last value": Entry(rungs=GROWING, make=loop(asc_sampler, promoting, model=LastValue)),
    "told: quantile in the rung": Entry(rungs=GROWING, make=loop(asc_sampler, promoting, model=Quantile)),
    "told: expected final value": Entry(rungs=GROWING, make=loop(asc_sampler, promoting, model=Shift)),
    "a quarter near the best": Entry(rungs=GROWING, make=loop(near(0.25), promoting)),
    "asc before, 4 known": Entry(rungs=EQUAL, make=asc("stopping", 2), known=4),
    "asc before, 8 known": Entry(rungs=EQUAL, make=asc("stopping", 2), known=8),
    "asc, stopping, 4 known": Entry(rungs=GROWING, make=asc("stopping", 4), known=4),
    "asc, promotion, 4 known": Entry(rungs=GROWING, make=asc("promotion", 4), known=4),
    "asc, promotion, 8 known": Entry(rungs=GROWING, make=asc("promotion", 4), known=8),
    "random, 4 known": Entry(rungs=(), make=loop(Random, Whole), known=4),
    "random, promotion, 4 known": Entry(rungs=GROWING, make=loop(Random, promoting), known=4),
    "GP, stopping, equal cycles": Entry(rungs=EQUAL, make=loop(GaussianProcess, halving, model=Shift)),
    "GP, stopping, equal cycles, 4 known": Entry(
        rungs=EQUAL, make=loop(GaussianProcess, halving, model=Shift), known=4
    ),
    "GP, promotion, 4 known": Entry(rungs=GROWING, make=loop(GaussianProcess, promoting, model=Shift), known=4),
    "TPE told the expected, equal cycles, 4 known": Entry(
        rungs=EQUAL, make=loop(asc_sampler, halving, model=Shift), known=4
    ),
    "TPE told the last, equal cycles, 4 known": Entry(
        rungs=EQUAL, make=loop(asc_sampler, halving, model=LastValue), known=4
    ),
    "near the known": Entry(rungs=GROWING, make=loop(near(0.5), promoting), known=4),
    "DEHB": Entry(rungs=GROWING, make=dehb(GROWING), needs=DEHB),
    "DEHB, first rung after 5": Entry(rungs=GROWING[1:], make=dehb(GROWING[1:]), needs=DEHB),
    "Syne Tune ASHACQR": Entry(rungs=GROWING, make=syne_tune(GROWING), needs=SYNE_TUNE),
    "Syne Tune ASHACQR, first rung after 5": Entry(rungs=GROWING[1:], make=syne_tune(GROWING[1:]), needs=SYNE_TUNE),
}


def replay(strategy: Strategy, world: World, *, rungs: Sequence[int], epochs: int, last: int) -> Trace:
    """Search until `epochs` are spent; return after how many the best network changed, and its true log loss."""
    spent, best_seen, trace = 0, float("inf"), Trace()
    events: list[tuple[int, int, Work]] = []  # when a worker reaches the epoch in its work
    idle, clock = set(range(WORKERS)), 0

    def begin(number: int, work: Work) -> int:
        end = next(epoch for epoch in (*rungs, last) if epoch > work.epoch)
        heapq.heappush(events, (clock + end - work.epoch, number, replace(work, epoch=end)))
        return end - work.epoch

    while spent < epochs:
        for number in sorted(idle):
            work = strategy.next(f"w{number}")
            if work is not None:
                idle.discard(number)
                spent += begin(number, work)
        clock, number, work = heapq.heappop(events)
        true, seen = world.trained(work.experiment)
        if work.epoch == last:
            strategy.completed(f"w{number}", work.trial, float(seen[-1]))
            if seen[-1] < best_seen:
                best_seen = float(seen[-1])
                trace.append((spent, true))
            idle.add(number)
        elif strategy.rung(f"w{number}", work.trial, work.epoch, float(seen[EPOCHS.index(work.epoch)])):
            idle.add(number)
        else:
            spent += begin(number, work)
    return trace


def base_of(space: Space, rungs: tuple[int, ...]) -> Experiment:
    """The reference with growing or with equal cycles, 21 epochs in all."""
    growing = reference(space)
    equal = {"schedule.cycles": 3, "schedule.epochs_per_cycle": 7, "schedule.cycle_growth": 1}
    return growing.updated(equal) if rungs == EQUAL else growing


def halves(curves: Sequence[Curve], half: str) -> list[Curve]:
    """The points of a half: even or odd numbers."""
    return [curve for curve in curves if half == "all" or curve.number % 2 == (half == "report")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A strategy in one world."""

    name: str
    seed: int
    space: str
    epochs: int
    known: tuple[Mapping[str, Scalar], ...]


_surrogate: Surrogate | None = None


def run(job: Job) -> tuple[Job, Trace]:
    """Replay one search."""
    assert _surrogate is not None
    entry, space = ENTRIES[job.name], load_space(job.space)
    base = base_of(space, entry.rungs)
    strategy = entry.make(Setting(space=space, base=base, seed=job.seed, known=job.known))
    world = World(_surrogate, job.seed)
    return job, replay(strategy, world, rungs=entry.rungs, epochs=job.epochs, last=base.schedule.epochs)


def _begin_process(curves: list[Curve]) -> None:
    global _surrogate
    _surrogate = Surrogate(curves)


def reached(traces: Sequence[Trace], epochs: int) -> Numbers:
    """The log loss of the best network after these epochs, by seed; infinite before a trial has completed."""
    return np.array([next((v for spent, v in reversed(trace) if spent <= epochs), float("inf")) for trace in traces])


def epochs_to(traces: Sequence[Trace], target: float, epochs: int) -> float:
    """The epochs after which the median over seeds is at the target for the first time, and infinite if it never is."""
    return next((e for e in range(1, epochs + 1) if np.median(reached(traces, e)) <= target), float("inf"))


def interval(values: Numbers) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval over seeds."""
    return float(np.mean(values)), float(1.96 * np.std(values, ddof=1) / np.sqrt(len(values)))


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--space", default="robust128")
    parser.add_argument("--half", choices=("tuning", "report", "all"), default="report")
    parser.add_argument("--seeds", type=int, default=30, metavar="N", help="worlds")
    parser.add_argument("--first-seed", type=int, default=1000, metavar="N", help="take others to choose defaults")
    parser.add_argument("--epochs", type=int, default=840, metavar="N", help="of each search (40 whole trials)")
    parser.add_argument("--only", nargs="+", choices=list(ENTRIES), metavar="NAME")
    parser.add_argument("--processes", type=int, default=1, metavar="N")
    parser.add_argument("--traces", type=Path, metavar="FILE", help="write the traces as JSON")
    options = parser.parse_args()
    for name in options.only or ():
        if missing := ENTRIES[name].missing:
            packages = " ".join(missing).replace("syne_tune", "syne-tune")
            parser.exit(2, f'"{name}" needs packages that are not installed here: pip install {packages}\n')
    return options


def main() -> None:
    """Print how well the surrogate predicts, and the table."""
    options = read_options()
    _, curves = read(options.file)
    chosen = halves(curves, options.half)
    others = [curve for curve in curves if curve not in chosen]
    known = [point for point, _ in best_points(others, load_space(options.space))] if others else []
    surrogate = Surrogate(chosen)
    print(
        f"{surrogate.points} points, {surrogate.repeats} of them with a second seed; the kernel's length is "
        f"{surrogate.length}. Each point predicted from the others:\n"
        "| log loss | error | spread | rank correlation | left to a point | noise of seeds | rank: rung, end |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in surrogate.held_out:
        print(
            f"| {row.name} | {row.error:.3f} | {row.spread:.3f} | {row.rank_correlation:.2f} | {row.alone:.1%} | "
            f"{row.noise:.1%} | {row.with_final:.2f} |"
        )
    print()
    listed = [name for name, entry in ENTRIES.items() if (known or not entry.known) and not entry.missing]
    names = options.only or listed
    jobs = [
        Job(
            name=name,
            seed=options.first_seed + seed,
            space=options.space,
            epochs=options.epochs if ENTRIES[name].whole else options.epochs // 2,
            known=tuple(known[: ENTRIES[name].known]),
        )
        for name in names
        for seed in range(options.seeds)
    ]
    traces: dict[str, list[Trace]] = {name: [] for name in names}
    with ProcessPoolExecutor(options.processes, initializer=_begin_process, initargs=(chosen,)) as pool:
        started = time.monotonic()
        for job, trace in pool.map(run, jobs):
            traces[job.name].append(trace)
            if len(traces[job.name]) == options.seeds:
                print(f"{job.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
                if options.traces:
                    options.traces.write_text(json.dumps({name: found for name, found in traces.items() if found}))
    print(table(traces, options.epochs))


def table(traces: dict[str, list[Trace]], epochs: int) -> str:
    """Log loss reached after four lengths, and the share of random's epochs that is needed for its final value."""
    marks = (epochs // 10, epochs // 4, epochs // 2, epochs)
    lines = [f"| strategy | {' | '.join(f'after {mark} epochs' for mark in marks)} | epochs needed / random's |"]
    lines.append("|---|---|---|---|---|---|")
    target = float(np.median(reached(traces["random"], epochs))) if "random" in traces else float("-inf")
    for name, found in traces.items():
        longest = epochs if ENTRIES[name].whole else epochs // 2
        cells = []
        for mark in marks:
            mean, half = interval(reached(found, mark))
            cells.append(f"{mean:.3f} \u00b1 {half:.3f}" if mark <= longest else "")
        needed = epochs_to(found, target, longest)
        cells.append(f"{needed / epochs:.2f}" if needed <= longest else f"> {longest / epochs:g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
