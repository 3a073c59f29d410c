"""A data set as a table: the label, device, group (location) and split of each clip. No audio is decoded here.

Start at `load_manifest`, which reads any kind of set that `--data` accepts.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from asc.config.data_choice import DataChoice
from asc.data.devices import TRAINING_DEVICES, check_holdout, check_one_device, device_copies, read_devices
from asc.data.grouping import grouped, shared_stems
from asc.data.impulse_response import Response
from asc.data.readers import passed_over, read_csv, read_esc10, read_folder, side_folders
from asc.data.rows import UNKNOWN_DEVICE, Row, Unlabelled
from asc.data.splits import LEARNING_SPLITS, check_groups, split_rows
from asc.data.synthetic.synthetic import Synthetic, parse_synthetic
from asc.data.tau import EDITIONS, read_tau
from asc.errors import InputError, some
from asc.results import Split

SCHEMES = "synthetic, esc10:DIR, csv:FILE, folder:DIR, tau2020:DIR, tau2022:DIR or tau2025:DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recording: `path` is relative to the set's folder, `group` is the location (or source) of the recording.

    `label` is None in an evaluation set without labels.
    For a copy made by `--device-irs`, `copy_of` is the path of the file and `path` is `copy_of@device`.
    """

    path: str
    label: str | None
    device: str
    group: str
    split: Split
    copy_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A data set with a split for every clip. `labels` are sorted; other modules index clips by position in `clips`.

    With `choice.part` "all" no clip is in the test split, and every clip is trained on, whatever its split. With
    "confirmed" there is a fifth split, confirmation. In a set without labels every clip is in the test split, and
    `labels` are all possible labels.
    `source` is the origin of the audio: the folder that the paths are relative to, or the synthetic generator.
    `responses` are the device responses that copies are made with, in the order of the device list.
    `passed_over` are files of a `folder:` set that were skipped. `warnings` are sentences for the user at each use:
    folders without audio are no classes, or excerpts of one recording may be in several splits.
    """

    choice: DataChoice
    labels: tuple[str, ...]
    clips: tuple[Clip, ...]
    source: Path | Synthetic = Path()
    responses: tuple[Response, ...] = ()
    warnings: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that no group lies in two splits and that there are at least two labels."""
        check_groups(self.spec, ((clip.path, clip.group, clip.split) for clip in self.clips))
        if len(self.labels) < 2:
            raise InputError(f"{self.spec} has only the label {', '.join(self.labels)}: at least 2 are needed")

    @property
    def spec(self) -> str:
        """The set as given to `--data`."""
        return self.choice.spec

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about the files of the set, one line each."""
        count = len(self.passed_over)
        return (f"{count:,} file{'s' * (count != 1)} in {self.spec} passed over: {some(self.passed_over)}",) * bool(
            count
        )

    @property
    def labelled(self) -> bool:
        """Whether the clips have labels; those of a challenge's evaluation set do not."""
        return not any(clip.label is None for clip in self.clips)

    @property
    def held_out(self) -> bool:
        """Whether the clips outside train are kept out of training (not so with part "all")."""
        return self.choice.part != "all" or not self.labelled

    def count(self, split: Split) -> int:
        """The number of clips in a split."""
        return sum(clip.split == split for clip in self.clips)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 that identifies the data: the rows, the generator's parameters, the device files.

        It includes part "all" but not the folder, so the same set has the same digest on every machine.
        """
        rows = [(clip.path, clip.label, clip.device, clip.group, clip.split) for clip in self.clips]
        generator = self.source.identity if isinstance(self.source, Synthetic) else ""
        devices = [[response.identity for response in self.responses]] if self.responses else []
        part = [] if self.held_out else [self.choice.part]
        return hashlib.sha256(json.dumps([generator, rows, *devices, *part]).encode()).hexdigest()


def load_manifest(choice: DataChoice) -> Manifest:
    """Load the manifest of a `--data` set (see `SCHEMES`), with device copies if `choice.device_irs` is set.

    A set without labels has no folds or parts: all its clips are in the test split, whatever the choice.

    Raises:
        InputError: the kind of set is unknown, or something is wrong with its files.
    """
    source, rows = _read(choice)
    if isinstance(rows, Unlabelled):
        return _unlabelled(choice, source, rows)
    if choice.group_from is not None:
        rows = grouped(rows, choice.group_from, source=choice.spec)
    if choice.holdout and choice.part == "all":
        raise InputError("--split all trains on every clip: leave --holdout-devices out")
    splits = split_rows(rows, source=choice.spec, fold=choice.fold, data_seed=choice.data_seed, part=choice.part)
    clips = tuple(
        Clip(path=row.path, label=row.label, device=row.device, group=row.group, split=split)
        for row, split in zip(rows, splits, strict=True)
    )
    responses: tuple[Response, ...] = ()
    if choice.device_irs is not None:
        check_one_device(rows, source=choice.spec)
        responses = read_devices(Path(choice.device_irs).expanduser())
        check_holdout(choice.holdout, TRAINING_DEVICES, source="--device-irs")
        clips = _through_devices(clips, rows, choice)
    elif choice.holdout:
        clips = _without_holdout(clips, choice)
    return Manifest(
        choice=choice,
        labels=tuple(sorted({row.label for row in rows})),
        clips=clips,
        source=source,
        responses=responses,
        warnings=(*_side_folders(source, choice), *shared_stems(rows, splits, source=choice.spec)),
        passed_over=passed_over(source) if isinstance(source, Path) and choice.spec.startswith("folder:") else (),
    )


def _side_folders(source: Path | Synthetic, choice: DataChoice) -> tuple[str, ...]:
    """A warning that names the folders of a `folder:` set that are no classes, because they have no audio."""
    names = side_folders(source) if isinstance(source, Path) and choice.spec.startswith("folder:") else ()
    if not names:
        return ()
    are = "folder has no audio and is no class" if len(names) == 1 else "folders have no audio and are no classes"
    return (f"{len(names)} {are} of {choice.spec}: {some(names)}",)


def _without_holdout(clips: Sequence[Clip], choice: DataChoice) -> tuple[Clip, ...]:
    """Of a set with devices of its own: train without the held-out devices, the other learning splits on them alone."""
    learning = [clip for clip in clips if clip.split != "test"]
    check_holdout(choice.holdout, (clip.device for clip in learning), source=choice.spec)
    kept = tuple(
        clip for clip in clips if clip.split == "test" or (clip.device in choice.holdout) == (clip.split != "train")
    )
    confirmed: tuple[Split, ...] = ("confirmation",) if choice.part == "confirmed" else ()
    for split in (*LEARNING_SPLITS, *confirmed):
        labels = {clip.label for clip in kept if clip.split == split}
        if absent := sorted({str(clip.label) for clip in learning} - {str(label) for label in labels}):
            raise InputError(
                f"{choice.spec} with --holdout-devices {choice.holdout_devices} has no clip of {some(absent)} in "
                f"{split}: hold out other devices"
            )
    return kept


def _through_devices(clips: Sequence[Clip], rows: Sequence[Row], choice: DataChoice) -> tuple[Clip, ...]:
    names = [(row.path, row.label, clip.split) for row, clip in zip(rows, clips, strict=True)]
    copies = device_copies(names, data_seed=choice.data_seed, holdout=choice.holdout)
    return tuple(
        replace(clips[number], path=f"{clips[number].path}@{device}", device=device, copy_of=clips[number].path)
        for number, device in copies
    )


def _unlabelled(choice: DataChoice, source: Path | Synthetic, rows: Unlabelled) -> Manifest:
    if choice.device_irs is not None:
        raise InputError(f"{choice.spec} has no labels and already has devices: leave --device-irs out")
    if choice.group_from is not None:
        raise InputError(f"{choice.spec} has no labels and so no splits: leave --group-from out")
    if choice.holdout:
        raise InputError(f"{choice.spec} has no labels and so no splits: leave --holdout-devices out")
    devices = rows.devices or (UNKNOWN_DEVICE,) * len(rows.paths)
    clips = tuple(
        Clip(path=path, label=None, device=device, group=path, split="test")
        for path, device in zip(rows.paths, devices, strict=True)
    )
    return Manifest(choice=choice, labels=rows.labels, clips=clips, source=source)


def _read(choice: DataChoice) -> tuple[Path | Synthetic, tuple[Row, ...] | Unlabelled]:
    spec = choice.spec
    scheme, _, place = spec.partition(":")
    if scheme in ("esc10", "csv", "folder", *EDITIONS) and not place:
        raise InputError(f"data {spec} has no path: write {SCHEMES}")
    path = Path(place).expanduser()
    match scheme:
        case "synthetic":
            synthetic = parse_synthetic(place)
            return synthetic, synthetic.rows()
        case "esc10":
            return path, read_esc10(path)
        case "csv":
            return path.parent, read_csv(path)
        case "folder":
            return path, read_folder(path)
        case "tau2020" | "tau2022" | "tau2025":
            return read_tau(path, scheme, part=choice.part)
        case _:
            raise InputError(f"data {spec} is of an unknown kind: write {SCHEMES}")
