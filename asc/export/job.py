"""Exports a stored network: writes all files that were asked for if every one passes the gate, else none."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from asc.data.dataset import Dataset
from asc.export.clips import GateClips, Progress, time_export
from asc.export.formats import Export
from asc.export.record import Kernels, Measured, Record, beside, contents, records, said
from asc.model_file.model_info import ModelInfo
from asc.model_file.tensors import write_together
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet
from asc.runs.model_card import with_exports

# Reference kernels take some 24 times as long as XNNPACK's, so they run every n-th clip and are timed fewer times.
EVERY, REPEATS = 8, 3
# They requantise 8 bits in fixed point, while XNNPACK and the stored form multiply in float: two steps were measured.
FIXED_POINT_STEPS = 2

Running = Callable[[str], AbstractContextManager[Progress]]


class GateError(RuntimeError):
    """An export does not agree with its network: a fault of asc or of the format's converter."""


def export_all(
    network: StoredNet,
    info: ModelInfo,
    dataset: Dataset,
    makers: Mapping[str, Callable[[], Export]],
    *,
    clips: int,
    seconds: float,
    running: Running,
) -> list[tuple[Export, tuple[Record, ...]]]:
    """Build every export, check it on `clips` clips of the data and time it on `seconds` of audio.

    `makers` build the exports, by the name of each one's first file (`formats.makers`). `running` takes the name of
    what is being checked and yields the progress callback, which is called after each clip.

    Raises:
        GateError: an export fails its gate, or fails it with kernels that a format depends on.
    """
    gate_clips = GateClips(dataset, network, count=clips)
    passed = []
    for name, build in makers.items():
        with running(name) as progress:
            export = build()
            gate = gate_clips.agreement(export, progress=progress)
        _require(name, (export.products.why_not if export.products else None) or gate.why_not)
        speed = time_export(export, network, seconds=seconds)
        kernels = _kernels(name, export, network, gate_clips, seconds=seconds, running=running)
        measured = Measured(gate=gate, latency=speed, kernels=kernels)
        passed.append((export, records(export, network, info, measured=measured, data=dataset.manifest.spec)))
    return passed


def _kernels(
    name: str, export: Export, network: StoredNet, clips: GateClips, *, seconds: float, running: Running
) -> tuple[Kernels, ...]:
    """Measure the same bytes with other kernels; these are slow, so only on some of the clips."""
    limit_steps, found = FIXED_POINT_STEPS if isinstance(network, IntegerNet) else None, []
    for kernels, session in export.kernels.items():
        other = dataclasses.replace(export, session=session)
        with running(f"{name}, {kernels} kernels") as progress:
            gate = clips.agreement(other, every=EVERY, limit_steps=limit_steps, progress=progress)
            speed = time_export(other, network, seconds=seconds, repeats=REPEATS)
        if kernels in export.decisive.values():
            _require(f"{name}, run by {kernels} kernels,", gate.why_not)
        found.append(Kernels(name=kernels, gate=gate, latency=speed))
    return tuple(found)


def _require(name: str, why_not: str | None) -> None:
    if why_not is not None:
        raise GateError(
            f"{name} does not agree with the stored form ({why_not}), so nothing was written: report this fault of "
            "asc, or of a package that it uses, with the installed versions"
        )


def write_all(folder: Path, passed: Sequence[tuple[Export, tuple[Record, ...]]], *, card: Path) -> None:
    """Write the exports that passed, each format's record last, so that no old record is left beside a new file.

    If the model has a card, it then says what each export was checked on.

    Raises:
        OSError: a file cannot be written, such as on a full disk; the folder is left unchanged.
    """
    files = {folder / name: data for export, found in passed for name, data in contents(export, found).items()}
    if card.is_file():
        lines = {record.file: said(record) for _, found in passed for record in found}
        files[card] = with_exports(card.read_text("utf-8"), lines).encode()
    write_together(files, outdated=[folder / beside(record) for _, found in passed for record in found])
