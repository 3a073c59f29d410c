"""Formats an evaluation as tables, as Markdown in the layout of the challenge's results, and as one JSON object.

https://dcase.community/challenge2021/task-acoustic-scene-classification: class, log loss, accuracy, and an average row.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from asc.console.published import Published
from asc.console.sheet import Sheet, as_markdown
from asc.results import CalibrationReport, Evaluation, Examination, GroupFigures, Interval, Split, macro


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What was evaluated, and the caveats that must accompany the figures.

    `optimistic` means that the network was calibrated on test clips. `published` has figures on the same test split.
    """

    model: str
    data: str
    device_irs: str | None
    split: Split
    optimistic: bool
    calibration: CalibrationReport | None
    notes: tuple[str, ...]
    published: Published | None

    @property
    def mark(self) -> str:
        """The ending of every title: nothing, or a warning that the figures are optimistic."""
        return ", optimistic" if self.optimistic else ""


def sheets(evaluation: Evaluation, about: About | None = None, *, mark: str = "") -> tuple[Sheet, ...]:
    """Return the overall figures, those per class, per device and for seen and unseen devices, and published ones.

    Sheets for which the evaluation has no figures are left out. Titles end with the mark of `about`, else with `mark`.
    """
    published = about.published if about else None
    mark = about.mark if about else mark
    found = [_total(evaluation)]
    if evaluation.per_class:  # missing, as per device, in a model file whose header had no room for them
        found.append(_classes(evaluation, published))
    if evaluation.per_device:
        found.append(_devices(evaluation, published))
    if evaluation.per_exposure:
        found.append(_exposure(evaluation, published))
    if published:
        found.append(_systems(evaluation, published, optimistic=about is not None and about.optimistic))
    return tuple(dataclasses.replace(sheet, title=f"{sheet.title}{mark}") for sheet in found)


def markdown(examination: Examination, about: About) -> str:
    """Return the whole evaluation as one Markdown page."""
    lines = [f"# {about.split} split of {about.data}{about.mark}", "", f"Model: `{about.model}`", ""]
    lines += [f"{note[0].upper()}{note[1:]}.\n" for note in about.notes]
    lines += [as_markdown(sheet) for sheet in sheets(examination.evaluation, about)]
    if about.published:
        lines += [
            "Figures in parentheses are optimistic: those systems were calibrated on the test clips.",
            f"Sources: {'; '.join(dict.fromkeys(system.source for system in about.published.systems))}.",
            "",
        ]
    return "\n".join(lines)


def tree(examination: Examination, about: About) -> dict[str, Any]:
    """Return the whole evaluation as one JSON object."""
    return {
        **about_tree(about),
        **dataclasses.asdict(examination.evaluation),
        "confusion": {"labels": examination.labels, "counts": examination.confusion},
        "reliability": [dataclasses.asdict(row) for row in examination.reliability],
        "published": None if about.published is None else dataclasses.asdict(about.published),
    }


def about_tree(about: About) -> dict[str, Any]:
    """Return the part of the JSON object that does not depend on figures, for clips without labels."""
    calibration = None if about.calibration is None else dataclasses.asdict(about.calibration)
    return {
        "model": about.model,
        "data": about.data,
        "device_irs": about.device_irs,
        "split": about.split,
        "optimistic": about.optimistic,
        "calibration": calibration,
        "notes": about.notes,
    }


def _total(evaluation: Evaluation) -> Sheet:
    rows = [
        ("log loss, macro (mean over classes)", f"{evaluation.log_loss:.3f}"),
        ("accuracy, macro", f"{evaluation.accuracy:.1%}"),
        ("log loss, micro (mean over clips)", f"{evaluation.micro_log_loss:.3f}"),
        ("accuracy, micro", f"{evaluation.micro_accuracy:.1%}"),
    ]
    if evaluation.calibration_error is not None:
        rows.append(("expected calibration error (15 bins)", f"{evaluation.calibration_error:.3f}"))
    title = f"{evaluation.split} split, {evaluation.clips} clips"
    found = evaluation.intervals
    if found is None:
        return Sheet(title=title, columns=("", "value"), rows=tuple(rows))
    accuracy = f"{found.accuracy.low:.1%} to {found.accuracy.high:.1%}"
    ends = (_ends(found.log_loss), accuracy, "", "", _ends(found.calibration_error))
    return Sheet(
        title=title,
        columns=("", "value", f"95 % interval ({found.groups} locations)"),
        rows=tuple((*row, end) for row, end in zip(rows, ends, strict=True)),
    )


def _classes(evaluation: Evaluation, published: Published | None) -> Sheet:
    columns, rows, footer = _groups("class", evaluation.per_class)
    if published is None:
        return Sheet(title="Per class", columns=columns, rows=rows, footer=(footer,))
    baseline = published.baseline_classes
    beside = {name: (row.log_loss, row.accuracy_percent) for name, row in baseline.items()}
    mean = (macro(loss for loss, _ in beside.values()), macro(percent for _, percent in beside.values()))
    return Sheet(
        title="Per class",
        columns=(*columns, "baseline log loss", "baseline accuracy"),
        rows=tuple((*row, *_both(beside.get(row[0]))) for row in rows),
        footer=((*footer, *_both(mean)),),
    )


def _devices(evaluation: Evaluation, published: Published | None) -> Sheet:
    columns, rows, footer = _groups("device", evaluation.per_device)
    baseline = published.baseline_devices if published else {}
    return _beside_losses("Per device", columns, rows, (footer,), baseline)


def _exposure(evaluation: Evaluation, published: Published | None) -> Sheet:
    rows = tuple((*_cells(row), f"{row.calibration_error:.3f}") for row in evaluation.per_exposure)
    columns = ("devices", "clips", "log loss", "accuracy", "ECE")
    baseline = published.baseline_exposure if published else {}
    return _beside_losses("Devices seen in training, and unseen ones", columns, rows, (), baseline)


def _beside_losses(
    title: str,
    columns: tuple[str, ...],
    rows: tuple[tuple[str, ...], ...],
    footer: tuple[tuple[str, ...], ...],
    baseline: Mapping[str, float],
) -> Sheet:
    """Return a sheet with the baseline's log losses, if any, in a last column."""
    if not baseline:
        return Sheet(title=title, columns=columns, rows=rows, footer=footer)
    named = {name: f"{loss:.3f}" for name, loss in baseline.items()}
    return Sheet(
        title=title,
        columns=(*columns, "baseline log loss"),
        rows=tuple((*row, named.get(row[0], "")) for row in rows),
        footer=tuple((*row, f"{macro(baseline.values()):.3f}") for row in footer),
    )


def _systems(evaluation: Evaluation, published: Published, *, optimistic: bool) -> Sheet:
    ours = ("this model", evaluation.log_loss, evaluation.accuracy * 100, optimistic)
    others = [(row.name, row.log_loss, row.accuracy_percent, row.optimistic) for row in published.systems]
    rows = tuple(
        (name, *(f"({cell})" if flatters else cell for cell in _both((loss, percent))))
        for name, loss, percent, flatters in [*others, ours]
    )
    return Sheet(
        title="Published figures; (in parentheses: calibrated on the test clips, optimistic)",
        columns=("system", "log loss", "accuracy"),
        rows=rows[:-1],
        footer=rows[-1:],
    )


def _groups(
    kind: str, figures: Iterable[GroupFigures]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return the columns, the rows, and the row of averages."""
    rows = list(figures)
    average = GroupFigures(
        name="average",
        clips=sum(row.clips for row in rows),
        log_loss=macro(row.log_loss for row in rows),
        accuracy=macro(row.accuracy for row in rows),
    )
    return (kind, "clips", "log loss", "accuracy"), tuple(map(_cells, rows)), _cells(average)


def _cells(row: GroupFigures) -> tuple[str, ...]:
    return (row.name, str(row.clips), f"{row.log_loss:.3f}", f"{row.accuracy:.1%}")


def _both(figures: tuple[float, float] | None) -> tuple[str, str]:
    return ("", "") if figures is None else (f"{figures[0]:.3f}", f"{figures[1]:.1f}%")


def _ends(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"
