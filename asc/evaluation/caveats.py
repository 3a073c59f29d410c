"""Which data a model may be evaluated on, and the caveats that must accompany its figures."""

import dataclasses
from pathlib import Path

from asc.config.data_choice import DataChoice
from asc.config.data_guess import guessed
from asc.console.evaluation_text import About
from asc.console.published import Published, tau2020
from asc.data.manifest import Manifest, load_manifest
from asc.errors import InputError
from asc.model_file.model_info import ModelInfo
from asc.results import CalibrationReport, Examination, Intervals, Split

OPTIMISTIC = "optimistic: test clips were used for the calibration, so no figure of this model may be ranked"
EVERY_FILE = "none"
TRAINED_ON = "a final model: every clip of its data was trained on, these too, so no figure here judges it"


def choice_for(
    info: ModelInfo, spec: str | None, device_irs: str | None, *, group_from: str | None = None
) -> DataChoice:
    """Choose the data to evaluate on, with the fold and data seed of the training; `spec` may be a place alone.

    `device_irs` gives the impulse responses. If it is None, the model's own data go through the devices of the
    training, and other data are used unchanged, since they have devices of their own. `group_from` is the group pattern
    for other data. If it is None, data of the same kind (perhaps a copy of the model's own) are grouped as in training.
    `EVERY_FILE` makes every file its own group.

    Raises:
        InputError: `group_from` differs from training for the model's own data, so clips would change splits.
    """
    own, spec = info.data.choice, None if spec is None else guessed(spec)
    if spec is None or _same_set(spec, own.spec):
        if group_from not in (None, own.group_from or EVERY_FILE):
            trained = f"with --group-from {own.group_from}" if own.group_from else "without --group-from"
            raise InputError(
                f"the model was trained on {own.spec} {trained}, so --group-from {group_from} would move clips that it "
                "was trained on into other splits: leave it out"
            )
        return dataclasses.replace(own, spec=spec or own.spec, device_irs=device_irs or own.device_irs)
    same_kind = _kind(spec) == _kind(own.spec)
    pattern = None if group_from == EVERY_FILE else group_from or (own.group_from if same_kind else None)
    return dataclasses.replace(own, spec=spec, device_irs=device_irs, part="development", group_from=pattern)


def refuse_training_clips(info: ModelInfo, choice: DataChoice) -> None:
    """Refuse to evaluate a final model on the set that it was trained on, or on a copy of it.

    Raises:
        InputError: the model was trained on all clips of this set.
    """
    if info.data.choice.part == "all" and _is_its_own(info, choice) and load_manifest(choice).labelled:
        raise InputError(
            f"the model is a final one, trained on all clips of {info.data.choice.spec}, test fold included, "
            f"and clips of {choice.spec} are among them, so no split of it can judge the model: evaluate one that was "
            "trained without --split all, or give other --data"
        )


def check_training_data(info: ModelInfo, manifest: Manifest) -> None:
    """Check that a set is the one used for training, so that its held-out clips really were held out.

    Raises:
        InputError: it is another set, or it has changed.
    """
    if manifest.digest != info.data.digest:
        raise InputError(
            f"{manifest.spec} is not the data that the model was trained on (files, labels, devices or splits differ): "
            "give the same --data, --device-irs and --group-from as in training"
        )


def about(info: ModelInfo, manifest: Manifest, split: Split, examination: Examination | None, *, model: Path) -> About:
    """Describe an evaluation, with the caveats for its figures; `examination` is None for unlabelled clips."""
    choice, calibration = manifest.choice, info.calibration
    optimistic = calibration is not None and calibration.optimistic
    own = manifest.digest == info.data.digest
    notes = []
    if not own:
        notes.append("the model was trained on other data; clips that it was trained on may be among these")
    if own_devices := info.data.choice.device_irs:
        notes += [f"heard without the devices of its training ({own_devices})"] if choice.device_irs is None else []
    if calibration is not None:
        notes.append(of_calibration(calibration))
        if (
            calibration.applied
            and calibration.split == split
            and (own or _same_set(choice.spec, info.data.choice.spec))
        ):
            notes.append("it was calibrated on these very clips, which flatters its log loss and calibration error")
    if optimistic:
        notes.append(OPTIMISTIC)
    if examination is None:
        notes.append(f"{manifest.spec} has no labels, so there are predictions and no figures")
    else:
        notes += of_intervals(examination.evaluation.intervals)
    return About(
        model=str(model),
        data=manifest.spec,
        device_irs=choice.device_irs,
        split=split,
        optimistic=optimistic,
        calibration=calibration,
        notes=tuple(notes),
        published=_published(manifest, split),
    )


def of_own_figures(info: ModelInfo) -> tuple[str, ...]:
    """Caveats for the validation figures stored in a model file."""
    calibration, final = info.calibration, info.data.choice.part == "all"
    chosen = "validation clips chose the network, which flatters it: judge it by the test split"
    return (
        TRAINED_ON if final else chosen,
        *([] if calibration is None else [of_calibration(calibration)]),
        *([OPTIMISTIC] if calibration is not None and calibration.optimistic else []),
        *of_intervals(info.evaluation.intervals),
    )


def of_intervals(intervals: Intervals | None) -> list[str]:
    """Return the caveats for intervals, or for the lack of them."""
    if intervals is None:
        return ["no intervals: every class has a single location here, so nothing is known of how locations differ"]
    if intervals.lone_classes:
        return [
            f"{intervals.lone_classes} class(es) have a single location here, which varies in no resample: "
            "the intervals are too narrow"
        ]
    return []


def of_calibration(report: CalibrationReport) -> str:
    """Describe how a model was calibrated, and on which clips."""
    if report.method == "none":
        return "the model is not calibrated"
    on = f"{report.method} calibration on {report.clips} clips of the {report.split} split"
    return f"{on}, applied" if report.applied else f"{on} was not applied, for cross-validation saw no sure gain"


def _is_its_own(info: ModelInfo, choice: DataChoice) -> bool:
    """Whether a model was trained on clips of a set.

    All TAU sets are cut from the same recordings, a copy of a set has its digest, and a set with other metadata may
    list the same files. If the training data no longer exist, shared files cannot be found, and only a note can warn.
    """
    own, tau = info.data.choice, ("tau2020:", "tau2022:", "tau2025:")
    if _same_set(choice.spec, own.spec) or (choice.spec.startswith(tau) and own.spec.startswith(tau)):
        return True
    copy = _manifest(dataclasses.replace(own, spec=choice.spec))
    if copy is not None and copy.digest == info.data.digest:
        return True
    return bool(_files(_manifest(own)) & _files(_manifest(choice)))


def _manifest(choice: DataChoice) -> Manifest | None:
    """Load a manifest; None if it cannot be read as requested."""
    try:
        return load_manifest(choice)
    except InputError:
        return None


def _files(manifest: Manifest | None) -> set[Path]:
    if manifest is None:
        return set()
    folder = manifest.source
    return {(folder / (c.copy_of or c.path)).resolve() for c in manifest.clips} if isinstance(folder, Path) else set()


def _same_set(spec: str, other: str) -> bool:
    """Whether two specs refer to the same path, however it is written."""
    (scheme, _, place), (other_scheme, _, other_place) = spec.partition(":"), other.partition(":")
    return scheme == other_scheme and _resolved(place) == _resolved(other_place)


def _kind(spec: str) -> str:
    return spec.partition(":")[0]


def _resolved(place: str) -> Path:
    return Path(place).expanduser().resolve()


def _published(manifest: Manifest, split: Split) -> Published | None:
    """Return published figures for the same clips: the TAU 2020 test fold without simulated devices."""
    choice = manifest.choice
    comparable = choice.spec.startswith("tau2020:") and split == "test" and choice.device_irs is None
    return tau2020() if comparable and manifest.labelled else None
