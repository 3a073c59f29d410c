"""The description in a model file, and its encoding as texts of the header.

A text is JSON with ' and \" swapped. So it needs no escapes within the JSON of a safetensors header, which keeps it
short and readable. Figures are rounded to four decimals, and rows of figures are lists.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.fingerprint import fingerprint
from asc.errors import InputError
from asc.results import CalibrationReport, Evaluation, GroupFigures, Interval, Intervals, Taught, TeacherNetwork
from asc.size.law import cost
from asc.typed import Scalar, build, typed

_EXCHANGED = str.maketrans({"'": '"', '"': "'"})
_SECTIONS = ("config", "labels", "data", "size", "figures")
_ENDS = ("low", "high")
_ROWS = ("per_class", "per_device", "per_exposure")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataIdentity:
    """The data that a network was trained on, and the digest of their manifest."""

    choice: DataChoice
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """The description in a model file: config (with the front end), labels in logit order, data, validation figures.

    `calibration` reports the calibration; it is None if no calibration was requested. `taught` says who taught the
    network, None if nobody did; temperature and weight of the soft labels are in the config (`distillation`).
    """

    experiment: Experiment
    labels: tuple[str, ...]
    data: DataIdentity
    evaluation: Evaluation
    calibration: CalibrationReport | None = None
    taught: Taught | None = None

    def __post_init__(self) -> None:
        """Check that every class has a label."""
        classes = self.experiment.architecture.classes
        if len(self.labels) != classes:
            raise InputError(f"{len(self.labels)} labels for {classes} classes")


def rounded(info: ModelInfo) -> ModelInfo:
    """Round the figures to four decimals, as in a model file; the config stays exact."""
    calibration = info.calibration and replace(_rounded(info.calibration), strength=info.calibration.strength)
    return replace(info, evaluation=_rounded(info.evaluation), calibration=calibration)


def longest(
    experiment: Experiment, labels: tuple[str, ...], data: DataIdentity, taught: Taught | None = None
) -> ModelInfo:
    """Return the description with the longest texts, without rows per class and device, to check the space for it."""
    figure, clips = 12.3456, 10**6
    interval = Interval(low=figure, high=figure)

    unseen = GroupFigures(name="unseen", clips=clips, log_loss=figure, accuracy=figure, calibration_error=figure)
    evaluation = Evaluation(
        split="calibration",
        clips=clips,
        log_loss=figure,
        accuracy=figure,
        micro_log_loss=figure,
        micro_accuracy=figure,
        per_class=(),
        per_device=(),
        calibration_error=figure,
        per_exposure=(unseen, unseen),
        intervals=Intervals(
            groups=clips,
            lone_classes=len(labels),
            resamples=10_000,
            log_loss=interval,
            accuracy=interval,
            calibration_error=interval,
        ),
    )
    calibration = CalibrationReport(
        method="one_vs_rest",
        split="calibration",
        clips=clips,
        groups=clips,
        shrunk_towards="temperature",
        strength=0.00031622776601683794,
        temperature=figure,
        log_loss_uncalibrated=figure,
        log_loss_temperature=figure,
        log_loss_method=figure,
        gain_standard_error=figure,
        applied=False,
    )
    return ModelInfo(
        experiment=experiment,
        labels=labels,
        data=data,
        evaluation=evaluation,
        calibration=None if experiment.calibration.method == "none" else calibration,
        taught=taught,
    )


def texts(info: ModelInfo) -> dict[str, str]:
    """Encode a description as header texts: fingerprint, config, labels, data, size, figures, calibration, teachers."""
    said = rounded(info)
    evaluation = dataclasses.asdict(said.evaluation)
    intervals = evaluation["intervals"]
    rows = {key: [_row(group, said.labels) for group in getattr(said.evaluation, key)] for key in _ROWS}
    sections: dict[str, Any] = {
        "config": said.experiment.tree(),
        "labels": said.labels,
        "data": {**_changed(said.data.choice), "digest": said.data.digest},
        "size": _size(said.experiment),
        "figures": {**evaluation, **rows, "intervals": intervals and _pairs(intervals)},
    }
    if said.calibration is not None:
        sections["calibration"] = dataclasses.asdict(said.calibration)
    if said.taught is not None:
        teachers = [_teacher(network) for network in said.taught.teachers]
        sections["taught"] = {"digest": said.taught.digest, "teachers": teachers}
    return {
        "fingerprint": said.experiment.fingerprint,
        **{key: _compact(tree).translate(_EXCHANGED) for key, tree in sections.items()},
    }


def read(texts: Mapping[str, str]) -> ModelInfo:
    """Decode header texts: the inverse of `texts`, except that figures are rounded.

    Raises:
        InputError: a text is missing, damaged, or contradicts the config.
    """
    trees = {key: _tree(key, texts) for key in _SECTIONS}
    figures = trees["figures"]
    labels = typed(tuple[str, ...], trees["labels"], "labels")
    figures |= {key: _groups(key, figures.get(key), labels) for key in _ROWS}
    if figures.get("intervals") is not None:
        figures["intervals"] = _ends("figures.intervals", figures["intervals"])
    digest = trees["data"].pop("digest", None)
    info = ModelInfo(
        experiment=Experiment.of_model(trees["config"]),
        labels=labels,
        data=build(DataIdentity, {"choice": trees["data"], "digest": digest}, "data."),
        evaluation=build(Evaluation, figures, "figures."),
        calibration=build(CalibrationReport, _tree("calibration", texts), "calibration.")
        if "calibration" in texts
        else None,
        taught=_taught(_tree("taught", texts)) if "taught" in texts else None,
    )
    if texts.get("fingerprint") != fingerprint(trees["config"]):
        raise InputError(f"fingerprint is {texts.get('fingerprint')}, which does not match the config")
    if trees["size"] != _size(info.experiment):
        raise InputError("size does not match the config")
    return info


def _teacher(network: TeacherNetwork) -> list[Any]:
    """The name of a teacher, and its KB to one decimal if they are known."""
    return [network.name] if network.kilobytes is None else [network.name, round(network.kilobytes, 1)]


def _taught(tree: dict[str, Any]) -> Taught:
    """Undo `_teacher` for each teacher."""
    rows = typed(tuple[tuple[str | float, ...], ...], tree.get("teachers"), "taught.teachers")
    teachers = [dict(zip(("name", "kilobytes"), row, strict=False)) for row in rows]
    return build(Taught, {**tree, "teachers": teachers}, "taught.")


def _compact(tree: Any) -> str:
    return json.dumps(tree, separators=(",", ":"), allow_nan=False)


def _tree(key: str, texts: Mapping[str, str]) -> Any:
    if key not in texts:
        raise InputError(f"{key} is missing")
    try:
        tree = json.loads(texts[key].translate(_EXCHANGED))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{key} cannot be read ({error})") from error
    if not isinstance(tree, list if key == "labels" else dict):
        raise InputError(f"{key} is neither a list nor a table")
    return tree


def _size(experiment: Experiment) -> dict[str, int]:
    """Return the totals of the size table; the size of each kind of item follows from the tensors."""
    size = cost(experiment)
    running = {"macs_per_second": size.macs_per_second, "peak_activation_bytes": size.peak_activation_bytes}
    return {**dataclasses.asdict(size.stored), **running}


def _changed(choice: DataChoice) -> dict[str, Scalar]:
    """Return the fields that differ from their defaults."""
    return {f.name: value for f in dataclasses.fields(choice) if (value := getattr(choice, f.name)) != f.default}


def _pairs(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """Replace every interval by the list of its two ends."""
    return {key: list(value.values()) if isinstance(value, dict) else value for key, value in intervals.items()}


def _ends(key: str, pairs: Any) -> Any:
    """Undo `_pairs`."""
    if not isinstance(pairs, dict):
        raise InputError(f"{key} is not a table")
    for name, pair in pairs.items():
        if isinstance(pair, list) and len(pair) != 2:
            raise InputError(f"{key}.{name} does not have two ends")
    return {name: dict(zip(_ENDS, p, strict=True)) if isinstance(p, list) else p for name, p in pairs.items()}


def _row(group: GroupFigures, labels: tuple[str, ...]) -> list[Any]:
    """Return the values of a row, with the class index in place of its label."""
    name, *values = dataclasses.astuple(group)
    first = labels.index(name) if name in labels else name
    return [first, *(values[:-1] if values[-1] is None else values)]


def _groups(key: str, rows: Any, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    if not isinstance(rows, list):
        raise InputError(f"figures.{key} must be a list, got {rows!r}")
    return [_group(key, row, labels) for row in rows]


def _group(key: str, row: Any, labels: tuple[str, ...]) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(GroupFigures)]
    if not isinstance(row, list) or not len(names) - 1 <= len(row) <= len(names):
        raise InputError(f"figures.{key} has a malformed row: {row!r}")
    group = dict(zip(names, row, strict=False))
    if type(group["name"]) is int:
        if not 0 <= group["name"] < len(labels):
            raise InputError(f"figures.{key} has a row for class number {group['name']}")
        group["name"] = labels[group["name"]]
    return group


def _rounded(tree: _T) -> _T:
    """Round the floats in a dataclass, or in a value of one, to four decimals."""
    if isinstance(tree, float):
        return round(tree, 4)  # type: ignore[return-value]
    if isinstance(tree, tuple):
        return tuple(_rounded(item) for item in tree)  # type: ignore[return-value]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{field.name: _rounded(getattr(tree, field.name)) for field in dataclasses.fields(tree)})  # type: ignore[type-var,unused-ignore]
    return tree
