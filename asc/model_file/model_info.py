"""What a model file says of itself, and the texts of its header that say it.

A text is JSON in which ' and \" are exchanged, so that it stays short and can be read where it lies, inside of the JSON
of a safetensors header. Figures have four decimals there, and rows of figures are lists.
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
from asc.results import CalibrationReport, Evaluation, GroupFigures, Interval, Intervals
from asc.size.law import cost
from asc.typed import Scalar, build, typed

_EXCHANGED = str.maketrans({"'": '"', '"': "'"})
_SECTIONS = ("config", "labels", "data", "size", "figures")
_ENDS = ("low", "high")
_ROWS = ("per_class", "per_device", "per_exposure")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataIdentity:
    """Which data a network was trained on, and the digest of their manifest."""

    choice: DataChoice
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says of itself: config (front end too), labels in the order of the logits, data, figures.

    `calibration` says what came of calibrating it, None where that was not asked for.
    """

    experiment: Experiment
    labels: tuple[str, ...]
    data: DataIdentity
    evaluation: Evaluation
    calibration: CalibrationReport | None = None

    def __post_init__(self) -> None:
        """Check that there is a label for each class."""
        classes = self.experiment.architecture.classes
        if len(self.labels) != classes:
            raise InputError(f"{len(self.labels)} labels for {classes} classes")


def rounded(info: ModelInfo) -> ModelInfo:
    """With figures of four decimals, as a model file holds them; the config stays as it is."""
    calibration = info.calibration and replace(_rounded(info.calibration), strength=info.calibration.strength)
    return replace(info, evaluation=_rounded(info.evaluation), calibration=calibration)


def longest(experiment: Experiment, labels: tuple[str, ...], data: DataIdentity) -> ModelInfo:
    """One whose texts are as long as they can be, without rows of classes and devices: is there room for it?"""
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
    )


def texts(info: ModelInfo) -> dict[str, str]:
    """The texts of a header: config and its fingerprint, labels, data and their digest, size, figures, calibration."""
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
    return {
        "fingerprint": said.experiment.fingerprint,
        **{key: _compact(tree).translate(_EXCHANGED) for key, tree in sections.items()},
    }


def read(texts: Mapping[str, str]) -> ModelInfo:
    """What `texts` was given, with rounded figures.

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
    )
    if texts.get("fingerprint") != fingerprint(trees["config"]):
        raise InputError(f"fingerprint is {texts.get('fingerprint')}, not that of the config")
    if trees["size"] != _size(info.experiment):
        raise InputError("size is not what a network of its config takes")
    return info


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
    """The totals of the size table; what each kind of items takes is in the names and shapes of the tensors."""
    size = cost(experiment)
    running = {"macs_per_second": size.macs_per_second, "peak_activation_bytes": size.peak_activation_bytes}
    return {**dataclasses.asdict(size.stored), **running}


def _changed(choice: DataChoice) -> dict[str, Scalar]:
    """What is not as it is by default."""
    return {f.name: value for f in dataclasses.fields(choice) if (value := getattr(choice, f.name)) != f.default}


def _pairs(intervals: Mapping[str, Any]) -> dict[str, Any]:
    """Both ends of an interval as a list."""
    return {key: list(value.values()) if isinstance(value, dict) else value for key, value in intervals.items()}


def _ends(key: str, pairs: Any) -> Any:
    """What `_pairs` was given."""
    if not isinstance(pairs, dict):
        raise InputError(f"{key} is no table")
    for name, pair in pairs.items():
        if isinstance(pair, list) and len(pair) != 2:
            raise InputError(f"{key}.{name} has not two ends")
    return {name: dict(zip(_ENDS, p, strict=True)) if isinstance(p, list) else p for name, p in pairs.items()}


def _row(group: GroupFigures, labels: tuple[str, ...]) -> list[Any]:
    """The values of a row, a class by its number."""
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
    """A dataclass, or what is in one, with floats of four decimals."""
    if isinstance(tree, float):
        return round(tree, 4)  # type: ignore[return-value]
    if isinstance(tree, tuple):
        return tuple(_rounded(item) for item in tree)  # type: ignore[return-value]
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        return replace(tree, **{field.name: _rounded(getattr(tree, field.name)) for field in dataclasses.fields(tree)})  # type: ignore[type-var,unused-ignore]
    return tree
