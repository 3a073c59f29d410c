"""What a network needs on a device, as tables and as JSON: flash, multiply-accumulates, and a memory plan.

The needs of the requested clip length are listed next to two that fit smaller devices: one-second clips, and a stream
(`asc.inference.stream`).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from asc.config.experiment import Experiment
from asc.size.activations import Step, activation_steps
from asc.size.arena import ALIGNMENT, Arena, arena
from asc.size.law import cost, macs
from asc.size.stream_memory import kept_bytes, longest_run_frames

SHORT_S = 1.0
STREAM_WINDOW_S, STREAM_EVERY_S = 10.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Memory for one way to run a network: on `frames` of log-mel at once, with `kept_bytes` kept between runs."""

    name: str
    frames: int
    peak_bytes: int
    arena_bytes: int
    kept_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The needs of a network on `seconds` of audio. `flash_bytes` is everything it stores, including pruned zeros."""

    seconds: float
    flash_bytes: int
    macs: int
    steps: tuple[Step, ...]
    arena: Arena
    needs: tuple[Need, ...]

    @property
    def peak(self) -> Step:
        """The step with the most live bytes; the first of them if there are several."""
        return max(self.steps, key=lambda step: step.live_bytes)


def memory_plan(experiment: Experiment, *, seconds: float) -> MemoryPlan:
    """Plan the memory of a network from its config alone.

    Raises:
        InputError: `seconds` is shorter than one frame.
    """
    steps = activation_steps(experiment, seconds=seconds)
    return MemoryPlan(
        seconds=seconds,
        flash_bytes=cost(experiment).stored.size_bytes,
        macs=macs(experiment, seconds=seconds),
        steps=steps,
        arena=arena(steps),
        needs=tuple(_needs(experiment, seconds)),
    )


def plan_tables(plan: MemoryPlan) -> tuple[Table, Table, Table]:
    """Tables of the steps with their live tensors, of the arena, and of the needs of each way to run the network."""
    return _steps_table(plan), _arena_table(plan), _needs_table(plan)


def plan_text(plan: MemoryPlan) -> str:
    """The plan in one sentence."""
    return (
        f"on a device, for {plan.seconds:g} s of audio: {plan.flash_bytes:,} bytes of flash, {plan.macs / 1e6:.1f} "
        f"MMAC, peak {plan.peak.live_bytes:,} bytes of activations at {plan.peak.name}; a static arena of "
        f"{plan.arena.size_bytes:,} bytes holds them (code, scratch and the front end are not counted)"
    )


def _needs(experiment: Experiment, seconds: float) -> Iterator[Need]:
    front_end = experiment.front_end
    for length_s in dict.fromkeys((seconds, max(SHORT_S, front_end.hop_s))):
        yield _need(f"a clip of {length_s:g} s", experiment, front_end.frames(length_s))
    frames = longest_run_frames(experiment, every_s=STREAM_EVERY_S)
    kept = kept_bytes(experiment, window_s=STREAM_WINDOW_S, every_s=STREAM_EVERY_S)
    yield _need(f"a stream: {STREAM_WINDOW_S:g} s, every {STREAM_EVERY_S:g} s", experiment, frames, kept)


def _need(name: str, experiment: Experiment, frames: int, kept: int = 0) -> Need:
    front_end = experiment.front_end
    seconds = frames * front_end.hop_samples / front_end.sample_rate_hz
    steps = activation_steps(experiment, seconds=seconds)
    peak, planned = max(step.live_bytes for step in steps), arena(steps).size_bytes
    return Need(name=name, frames=frames, peak_bytes=peak, arena_bytes=planned, kept_bytes=kept)


def _needs_table(plan: MemoryPlan) -> Table:
    table = Table(title="Memory in bytes, by how much audio is run at once", title_justify="left")
    table.add_column("run", no_wrap=True)
    for name in ("frames", "peak", "arena", "kept between runs"):
        table.add_column(name, justify="right")
    for need in plan.needs:
        numbers = (need.frames, need.peak_bytes, need.arena_bytes, need.kept_bytes)
        table.add_row(need.name, *(f"{number:,}" for number in numbers))
    return table


def _steps_table(plan: MemoryPlan) -> Table:
    table = Table(title=f"Operations in order, {plan.seconds:g} s of audio", title_justify="left")
    table.add_column("operation", no_wrap=True)
    table.add_column("live bytes", justify="right", no_wrap=True)
    table.add_column("live tensors (the last is the output)")
    for number, step in enumerate(plan.steps):
        peak = "peak: " if step is plan.peak else ""
        live = ", ".join(tensor.name for tensor in step.live)
        table.add_row(f"{number} {step.name}", f"{peak}{step.live_bytes:,}", live)
    return table


def _arena_table(plan: MemoryPlan) -> Table:
    table = Table(
        title=f"Static arena, greedy by size, offsets in multiples of {ALIGNMENT} bytes", title_justify="left"
    )
    table.add_column("tensor", no_wrap=True)
    for name in ("shape", "bytes", "live at", "offset"):
        table.add_column(name, justify="right", no_wrap=True)
    for placed in plan.arena.placed:
        tensor = placed.tensor
        shape, life = "x".join(map(str, tensor.shape)), f"{tensor.first}..{tensor.last}"
        table.add_row(tensor.name, shape, f"{tensor.size_bytes:,}", life, f"{placed.offset:,}")
    table.add_section()
    table.add_row("arena", "", f"{plan.arena.size_bytes:,}")
    table.add_row("peak (lower bound)", "", f"{plan.peak.live_bytes:,}")
    return table


def plan_json(plan: MemoryPlan) -> dict[str, Any]:
    """The plan as a JSON object; `live` holds names of tensors, whose places in the arena are under `tensors`."""
    return {
        "seconds": plan.seconds,
        "flash_bytes": plan.flash_bytes,
        "macs": plan.macs,
        "peak_bytes": plan.peak.live_bytes,
        "peak_at": plan.peak.name,
        "arena_bytes": plan.arena.size_bytes,
        "needs": [dataclasses.asdict(need) for need in plan.needs],
        "steps": [
            {"name": step.name, "live_bytes": step.live_bytes, "live": [tensor.name for tensor in step.live]}
            for step in plan.steps
        ],
        "tensors": [
            {
                "name": placed.tensor.name,
                "shape": list(placed.tensor.shape),
                "bytes": placed.tensor.size_bytes,
                "first": placed.tensor.first,
                "last": placed.tensor.last,
                "offset": placed.offset,
            }
            for placed in plan.arena.placed
        ],
    }
