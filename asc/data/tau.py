"""TAU Urban Acoustic Scenes Mobile of 2020, 2022 and 2025 (Heittola, Mesaros, Virtanen 2020, https://arxiv.org/abs/2005.14623).

Development sets: https://zenodo.org/records/3819968 (10 s clips) and https://zenodo.org/records/6337421 (the same audio
in clips of 1 s). `meta.csv` lists all clips with scene, location and device; `evaluation_setup/` lists the official
training and test clips. Both are tab-separated. Evaluation sets have file names only. A clip's name repeats its data:
`audio/SCENE-CITY-LOCATION-SEGMENT-DEVICE.wav`; in 2022 the second within the segment comes before the device.

`tau2025` is the data of DCASE 2025 (https://arxiv.org/abs/2505.01747): the clips of 2022, and a list of a quarter of
the training clips, `split_setup/split25.csv` from https://github.com/CPJKU/dcase2024_task1_baseline. The other training
clips are in no part. The evaluation set also names the device of each clip.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asc.config.data_choice import Part
from asc.data.rows import Row, Unlabelled
from asc.data.table import check_columns, read_table
from asc.errors import InputError, some
from asc.launchers import command
from asc.results import Split

Edition = Literal["tau2020", "tau2022", "tau2025"]
EDITIONS: tuple[Edition, ...] = ("tau2020", "tau2022", "tau2025")
SCENES = (
    *("airport", "bus", "metro", "metro_station", "park"),
    *("public_square", "shopping_mall", "street_pedestrian", "street_traffic", "tram"),
)
_META = "meta.csv"
_TRAIN, _TEST, _EVALUATE = (f"evaluation_setup/fold1_{name}.csv" for name in ("train", "test", "evaluate"))
SPLIT25 = "split_setup/split25.csv"
_OF_10_S = re.compile(r"audio/([^-/]+)-([^-/]+-[^-/]+)-[^-/]+-([^-/]+)\.wav")
_OF_1_S = re.compile(r"audio/([^-/]+)-([^-/]+-[^-/]+)-[^-/]+-[^-/]+-([^-/]+)\.wav")
_NAME: Mapping[Edition, re.Pattern[str]] = {"tau2020": _OF_10_S, "tau2022": _OF_1_S, "tau2025": _OF_1_S}
_ROOT: Mapping[Edition, str] = {
    "tau2020": "TAU-urban-acoustic-scenes-2020-mobile-development",
    "tau2022": "TAU-urban-acoustic-scenes-2022-mobile-development",
    "tau2025": "TAU-urban-acoustic-scenes-2022-mobile-development",
}
_UNLABELLED_NAME = re.compile(r"audio/[^/]+\.wav")


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the metadata, and the affected clips."""

    sentence: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the sentence with the first affected clips."""
        return f"{self.sentence}: {some(self.names)}" if self.names else self.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata of a TAU folder; `problems` lists every fault found.

    `rows` has every clip of a development set; `given` is None for clips in neither train nor test. An evaluation set
    has `unlabelled` instead, and that of 2025 also the device of each clip.
    """

    root: Path
    rows: tuple[Row, ...] = ()
    unlabelled: tuple[str, ...] = ()
    unlabelled_devices: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all listed files, relative to the root."""
        return self.unlabelled or tuple(row.path for row in self.rows)


def read_tau(folder: Path, edition: Edition, *, part: Part) -> tuple[Path, tuple[Row, ...] | Unlabelled]:
    """Read the root and rows of a TAU folder: train and test clips, and with part "all" those in neither.

    DCASE 2025 lets a system be trained on its training clips alone, so `tau2025` has no clips in neither. The clips of
    an evaluation set are `Unlabelled`, whatever the part.

    Raises:
        InputError: there is no TAU set, its metadata are missing or inconsistent, or audio files are missing.
    """
    metadata = read_metadata(find_root(folder, edition), edition)
    if metadata.problems:
        first, *more = metadata.problems
        hint = f" ({len(more)} more: {command('data')} verify {edition}:{folder})" if more else ""
        raise InputError(f"{first}{hint}")
    rows = tuple(row for row in metadata.rows if row.given or (part == "all" and edition != "tau2025"))
    there = audio_files(metadata.root)
    paths = metadata.unlabelled or tuple(row.path for row in rows)
    absent = [path for path in paths if path not in there]
    if absent:
        raise InputError(
            f"{metadata.root} lacks {len(absent):,} of {len(paths):,} listed audio files, fetch them again with "
            f"{command('data')} download: {some(absent)}"
        )
    if metadata.unlabelled:
        return metadata.root, Unlabelled(paths=paths, labels=SCENES, devices=metadata.unlabelled_devices)
    return metadata.root, rows


def find_root(folder: Path, edition: Edition) -> Path:
    """Find the root of a TAU set: the given folder, or the development set that was unpacked into it.

    Raises:
        InputError: neither folder has metadata.
    """
    unpacked = folder / _ROOT[edition]
    for root in (folder, unpacked):
        if (root / _META).exists() or (root / "evaluation_setup").is_dir():
            return root
    raise InputError(
        f"{folder} has neither {_META} nor evaluation_setup/, and no folder {unpacked.name}: give the folder of the "
        f"data set, or fetch it with {command('data')} download {edition} --to {folder}"
    )


def audio_files(root: Path) -> frozenset[str]:
    """List the files of a TAU set's audio folder as `audio/NAME`, without hidden ones.

    Subfolders are listed as `audio/NAME/`, so they never match a clip. If the audio folder is missing, the list is
    empty. One scandir call lists it, because a stat call per file would be slow.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        with os.scandir(root / "audio") as entries:
            there = [(entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
        return frozenset(f"audio/{name}{'/' * folder}" for name, folder in there)
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise InputError(f"{root / 'audio'} cannot be read ({error.strerror}): fix its permissions") from error


def read_metadata(root: Path, edition: Edition) -> Metadata:
    """Read and check the metadata of a TAU set, but not its audio. Faults are returned, not raised."""
    problems: list[Problem] = []
    if not (root / _META).exists() and not (root / _TRAIN).exists():
        return _read_unlabelled(root, edition)
    meta = _cells(root / _META, ("filename", "scene_label", "identifier", "source_label"), problems)
    label_of = {cells["filename"]: cells["scene_label"] for cells in meta}
    if meta:
        _check_meta(root / _META, edition, meta, problems)
    given: dict[str, Split] = dict.fromkeys(_test_part(root, label_of, problems), "test")
    train = _part(root / _TRAIN, label_of, problems)
    _complain(problems, root / _TRAIN, f"that {_TEST} lists too, drop them from one", [n for n in train if n in given])
    if edition == "tau2025":
        train = _split25(root / SPLIT25, label_of, train, problems)
    given |= dict.fromkeys(train, "train")
    rows = tuple(
        Row(
            path=cells["filename"],
            label=cells["scene_label"],
            device=cells["source_label"],
            group=cells["identifier"],
            given=given.get(cells["filename"]),
        )
        for cells in meta
    )
    tested = {row.group for row in rows if row.given == "test"}
    shared = sorted({row.group for row in rows if row.given == "train"} & tested)
    if shared:
        sentence = f"{root} has {len(shared)} location(s) in both training and test, fetch it again"
        problems.append(Problem(sentence, tuple(shared)))
    return Metadata(root=root, rows=rows, problems=tuple(problems))


def _read_unlabelled(root: Path, edition: Edition) -> Metadata:
    problems: list[Problem] = []
    columns = ("filename", "device_id") if edition == "tau2025" else ("filename",)
    listed = _cells(root / _TEST, columns, problems)
    names = tuple(cells["filename"] for cells in listed)
    _complain(problems, root / _TEST, "more than once, keep one row of each", _twice(names))
    odd = [name for name in names if not _UNLABELLED_NAME.fullmatch(name)]
    _complain(problems, root / _TEST, "not named audio/NAME.wav, correct the names", odd)
    devices = tuple(cells["device_id"] for cells in listed) if edition == "tau2025" else ()
    return Metadata(root=root, unlabelled=names, unlabelled_devices=devices, problems=tuple(problems))


def _cells(file: Path, columns: Sequence[str], problems: list[Problem]) -> list[dict[str, str]]:
    if not file.is_file():
        sentence = f"{file} is missing: fetch the metadata again with {command('data')} download"
        problems.append(Problem(sentence))
        return []
    try:
        table = read_table(file, delimiter="\t")
        check_columns(file, table[0][1], columns)
    except InputError as error:
        problems.append(Problem(f"{error} (TAU's metadata are tab-separated: {', '.join(columns)})"))
        return []
    unfilled = [f"line {line}" for line, cells in table if None in cells or not all(cells[c] for c in columns)]
    _complain(problems, file, "without as many cells as columns", unfilled)
    return [cells for _, cells in table if all(cells[c] for c in columns)]


def _check_meta(file: Path, edition: Edition, meta: Sequence[dict[str, str]], problems: list[Problem]) -> None:
    _complain(problems, file, "more than once, keep one row of each", _twice(cells["filename"] for cells in meta))
    other: Edition = "tau2022" if edition == "tau2020" else "tau2020"
    matches = [(cells, _NAME[edition].fullmatch(cells["filename"])) for cells in meta]
    odd = [cells["filename"] for cells, match in matches if match is None]
    if odd and all(_NAME[other].fullmatch(name) for name in odd):
        problems.append(Problem(f"{file} names its clips like {other}: write {other}:{file.parent}", tuple(odd)))
    else:
        _complain(problems, file, f"with names that do not fit {edition}, correct or drop them", odd)
    columns = ("scene_label", "identifier", "source_label")
    wrong = [c["filename"] for c, match in matches if match and match.groups() != tuple(c[name] for name in columns)]
    _complain(problems, file, f"whose {', '.join(columns)} contradict their names, correct the rows", wrong)
    labels = {cells["scene_label"] for cells in meta}
    if labels != set(SCENES):
        unknown, absent = sorted(labels - set(SCENES)), sorted(set(SCENES) - labels)
        told = [f"unknown scenes ({some(unknown)})"] * bool(unknown) + [f"no clip of {some(absent)}"] * bool(absent)
        problems.append(Problem(f"{file} has {' and '.join(told)}: TAU has ten scenes, so fetch it again"))


def _test_part(root: Path, label_of: dict[str, str], problems: list[Problem]) -> tuple[str, ...]:
    """Read the test clips. If there are two lists of them, they must agree."""
    if not (root / _TEST).exists():
        return _part(root / _EVALUATE, label_of, problems)
    names = _part(root / _TEST, label_of, problems, columns=("filename",))
    if (root / _EVALUATE).exists():
        differing = sorted({*names} ^ {*_part(root / _EVALUATE, label_of, problems)})
        _complain(problems, root / _EVALUATE, f"that differ from {_TEST}, fetch both again", differing)
    return names


def _part(
    file: Path,
    label_of: dict[str, str],
    problems: list[Problem],
    *,
    columns: Sequence[str] = ("filename", "scene_label"),
) -> tuple[str, ...]:
    rows = _cells(file, columns, problems)
    names = tuple(cells["filename"] for cells in rows)
    _complain(problems, file, "more than once, keep one row of each", _twice(names))
    if label_of:
        _complain(problems, file, f"that {_META} does not have, drop them", [n for n in names if n not in label_of])
    if label_of and "scene_label" in columns:
        wrong = [c["filename"] for c in rows if label_of.get(c["filename"], c["scene_label"]) != c["scene_label"]]
        _complain(problems, file, f"with another scene than in {_META}, correct the rows", wrong)
    return names


def _split25(file: Path, label_of: dict[str, str], train: Sequence[str], problems: list[Problem]) -> tuple[str, ...]:
    """Read the 25 % split: clips of the training part, in whole segments of 10 s."""
    names = _part(file, label_of, problems, columns=("filename",))
    chosen, official = frozenset(names), frozenset(train)
    others = [name for name in names if name in label_of and name not in official]
    _complain(problems, file, f"that {_TRAIN} does not have, fetch the list again", others)
    halves = {_segment(name) for name in official - chosen} & {_segment(name) for name in chosen}
    cut = [name for name in names if _segment(name) in halves]
    _complain(problems, file, "of segments that it lists in part only, fetch the list again", cut)
    return names


def _segment(name: str) -> tuple[str, str]:
    """The 10 s that a clip of 1 s was cut from: its name without the second, and the device."""
    rest, _, device = name.rpartition("-")
    return rest.rpartition("-")[0], device


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _complain(problems: list[Problem], file: Path, what: str, names: Sequence[str]) -> None:
    if names:
        problems.append(Problem(f"{file} lists {len(names):,} clip(s) {what}", tuple(names)))
