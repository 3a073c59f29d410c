"""Write the journal of a long search with random trials, as the start of a benchmark."""

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path

from simulated import log_loss, metrics_of

from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.runs.events import EpochDone, Event, RungReached, RunStarted, TrialAsked, TrialEnded
from asc.search.repair import Budget, Candidate, repair
from asc.search.settings import SearchSettings
from asc.size.rules import rule
from asc.typed import Scalar

BUDGET = Budget(rule=rule("dcase2021"), kilobytes=128.0)


def space_of(cycles: int) -> Space:
    """The space idlab128, without the pruning parameter for a single cycle, after which nothing could be pruned."""
    space = load_space("idlab128")
    kept = {k: p for k, p in space.parameters.items() if cycles > 1 or k != "compression.prune_ratio"}
    return dataclasses.replace(space, parameters=kept)


def settings(*, trials: int, slots: int, seed: int = 0, address: str | None = None) -> SearchSettings:
    """Settings of a search with `slots` trials at once, here or on a cluster."""
    return SearchSettings(
        budget_kb=BUDGET.kilobytes,
        rule="dcase2021",
        recipe="qat_8b",
        data="synthetic",
        fold=1,
        data_seed=0,
        seed=seed,
        trials=trials,
        max_concurrent=slots,
        cpus_per_trial=1,
        address=address,
    )


def reference(*, cycles: int, epochs_per_cycle: int) -> Experiment:
    """The report's network with a schedule of this length."""
    space = space_of(cycles)
    schedule = {"schedule.cycles": cycles, "schedule.epochs_per_cycle": epochs_per_cycle}
    return load_experiment("qat_8b").updated({**space.settings, **schedule})


def started(chosen: SearchSettings, base: Experiment, space: Space) -> RunStarted:
    """The first event of a journal."""
    return RunStarted(
        name="simulated",
        kind="search",
        settings=chosen.scalars(),
        space=f"{space.name}\n{space.text}",
        data_digest="simulated",
        reference=base.flat(),
    )


def write_journal(path: Path, *, trials: int, base: Experiment, chosen: SearchSettings) -> None:
    """Write the journal of a search with `trials` ended trials; if it has a rung, every second one stopped there."""
    space = space_of(base.schedule.cycles)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for event in [started(chosen, base, space), *_events(trials, base, space)]:
            file.write(json.dumps({"event": type(event).__name__, "time_s": 0.0, **dataclasses.asdict(event)}) + "\n")


def _events(trials: int, base: Experiment, space: Space) -> Iterator[Event]:
    rng, seen, number = random.Random(1), set[str](), 0
    rung = base.schedule.epochs_per_cycle if base.schedule.cycles > 1 else None
    while number < trials:
        point = space.sample(rng)
        candidate = repair(base, space, point, BUDGET)
        if candidate is None or candidate.experiment.fingerprint in seen:
            continue
        seen.add(candidate.experiment.fingerprint)
        yield from _trial(f"t{number:03d}", candidate, point, rung if number % 2 else None)
        number += 1


def _trial(name: str, candidate: Candidate, point: dict[str, Scalar], rung: int | None) -> Iterator[Event]:
    experiment = candidate.experiment
    last = rung or experiment.schedule.epochs
    yield TrialAsked(
        trial=name,
        title=f"{name} w{'-'.join(map(str, experiment.architecture.widths))} simulated",
        point=point,
        config=experiment.flat(),
        repaired=candidate.repaired,
        **dataclasses.asdict(candidate.cost.stored),
        macs_per_second=candidate.cost.macs_per_second,
        peak_activation_bytes=candidate.cost.peak_activation_bytes,
    )
    for epoch in range(1, last + 1):
        metrics = metrics_of(experiment, epoch, 10.0)
        yield EpochDone(trial=name, metrics=metrics, checkpoint=f"trials/{name}/last.safetensors")
    if rung is not None:
        yield RungReached(trial=name, epoch=rung, log_loss=log_loss(experiment, rung), stopped=True)
        yield TrialEnded(trial=name, outcome="stopped", epochs=rung, seconds=10.0 * rung, reason="simulated")
        return
    yield TrialEnded(
        trial=name,
        outcome="completed",
        epochs=last,
        seconds=10.0 * last,
        log_loss=log_loss(experiment, last),
        accuracy=0.5,
        built=candidate.cost.stored,
        model=f"trials/{name}/model.safetensors",
    )
