"""Grouped, stratified splits: train, valid, calibration and test. No group (location) is in two splits.

A search that calibrates its trials, and confirms its choice afterwards, sets half of the calibration split aside for
that: half of the clips of every label, in whole groups, drawn as the other splits are.

scikit-learn's StratifiedGroupKFold does not fit: its parts are 1/k, not 15 %, it ties the parts of all labels
together, and importing it costs every trial process a second. Here groups are ordered by a hash of the data seed and
their name, so splits are the same on every platform and change little when clips are added.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from asc.config.data_choice import Part
from asc.data.rows import Row
from asc.errors import InputError, some
from asc.results import Split

HELD_OUT_SHARE = 0.15
CONFIRMED_SHARE = 0.5
MADE_FOLDS = 5
LEARNING_SPLITS: tuple[Split, ...] = ("train", "valid", "calibration")


def split_rows(
    rows: Sequence[Row], *, source: str, fold: int, data_seed: int, part: Part = "development"
) -> tuple[Split, ...]:
    """Assign a split to every row: keep given ones, use fold `fold` for test, draw the rest with `data_seed`.

    A set with neither splits nor folds gets five test folds. If valid or calibration is not given, it is drawn from
    train: 15 % of the clips of every label, in whole groups. With `part` "all" the test clips are moved to train
    first, so there is no test split. With `part` "confirmed" half of calibration becomes the confirmation split; all
    other clips stay where they are. `source` names the set in errors.

    Raises:
        InputError: the fold does not exist, a group is in two given splits or partly in the test fold, a label does
            not occur in each of train, valid and calibration, or, with "confirmed", in both halves of calibration.
    """
    splits = _test_part(rows, source=source, fold=fold, data_seed=data_seed)
    if part == "all":
        splits = ["train" if split == "test" else split for split in splits]
    check_groups(source, ((row.path, row.group, split) for row, split in zip(rows, splits, strict=True)))
    learning = [row for row, split in zip(rows, splits, strict=True) if split == "train"]
    sizes = Counter(row.label for row in learning)
    drawn: dict[str, Split] = {}
    missing: tuple[Split, ...] = tuple(s for s in ("valid", "calibration") if s not in splits)
    targets = {label: HELD_OUT_SHARE * size for label, size in sizes.items()}
    for drawn_before, split in enumerate(missing):
        left = [row for row in learning if row.group not in drawn]
        taken = _draw(left, targets, data_seed, parts_to_come=len(missing) - drawn_before)
        drawn |= dict.fromkeys(taken, split)
    result = tuple(
        drawn.get(row.group, split) if split == "train" else split for row, split in zip(rows, splits, strict=True)
    )
    _check_labels(rows, result, source)
    return _confirmed(rows, result, data_seed=data_seed, source=source) if part == "confirmed" else result


def _confirmed(rows: Sequence[Row], splits: Sequence[Split], *, data_seed: int, source: str) -> tuple[Split, ...]:
    """Move half of the calibration split to the confirmation split."""
    held = [row for row, split in zip(rows, splits, strict=True) if split == "calibration"]
    targets = {label: CONFIRMED_SHARE * size for label, size in Counter(row.label for row in held).items()}
    taken = _draw(held, targets, data_seed, parts_to_come=1)
    labels = {row.label for row in held}
    for part, found in (
        ("confirm", {row.label for row in held if row.group in taken}),
        ("calibrate", {row.label for row in held if row.group not in taken}),
    ):
        if labels != found:
            raise InputError(
                f"{source}: the calibration split has too few groups of {some(sorted(labels - found))} to {part} on "
                "after it is halved for --final-top: add recordings, or search with --calibrate none, which leaves "
                "the whole split to confirm on"
            )
    return tuple(
        "confirmation" if s == "calibration" and r.group in taken else s for r, s in zip(rows, splits, strict=True)
    )


def check_groups(source: str, clips: Iterable[tuple[str, str, Split]]) -> None:
    """Check that no group is in two splits, given (path, group, split) of all clips of a set.

    Raises:
        InputError: a group is in two splits.
    """
    split_of: dict[str, Split] = {}
    for path, group, split in clips:
        other = split_of.setdefault(group, split)
        if other != split:
            raise InputError(
                f"{source}: group {group} lies in two splits, {other} and {split} (clip {path}): "
                "clips of one place must stay within one split"
            )


def _test_part(rows: Sequence[Row], *, source: str, fold: int, data_seed: int) -> list[Split]:
    if any(row.given for row in rows):
        if fold != 1:
            raise InputError(f"{source} has fixed splits and so only fold 1: fold {fold} does not exist, use --fold 1")
        return [row.given or "train" for row in rows]
    folds = [row.fold for row in rows]
    if None in folds:
        folds = list(_made_folds(rows, data_seed))
    there = sorted({number for number in folds if number is not None})
    if fold not in there:
        raise InputError(f"{source} has no fold {fold}: choose one of {', '.join(map(str, there))}")
    return ["test" if number == fold else "train" for number in folds]


def _made_folds(rows: Sequence[Row], data_seed: int) -> tuple[int, ...]:
    sizes = Counter(row.label for row in rows)
    targets = {label: size / MADE_FOLDS for label, size in sizes.items()}
    fold_of: dict[str, int] = {}
    for fold in range(1, MADE_FOLDS):
        left = [row for row in rows if row.group not in fold_of]
        taken = _draw(left, targets, data_seed, parts_to_come=MADE_FOLDS - fold)
        fold_of |= dict.fromkeys(taken, fold)
    return tuple(fold_of.get(row.group, MADE_FOLDS) for row in rows)


def _draw(rows: Sequence[Row], targets: dict[str, float], data_seed: int, *, parts_to_come: int) -> set[str]:
    """Draw groups that together have about `targets[label]` clips of every label.

    Draws at least one group of each label, and leaves one for each of the parts to come if there are enough. A group
    counts towards the label that most of its clips have. It is taken if it brings that label nearer to the target.
    Groups are tried in hashed order, but those larger than the target last, so that they do not fill a small part.
    """
    clips: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        clips[row.group][row.label] += 1
    by_label: dict[str, list[str]] = defaultdict(list)
    for group in sorted(clips, key=lambda name: hashlib.sha256(os.fsencode(f"{data_seed}/{name}")).digest()):
        by_label[clips[group].most_common(1)[0][0]].append(group)
    taken: set[str] = set()
    for label, groups in by_label.items():
        sizes = {group: clips[group].total() for group in groups}
        taken |= _nearest(sizes, targets[label], at_most=max(1, len(groups) - parts_to_come))
    return taken


def _nearest(sizes: dict[str, int], target: float, *, at_most: int) -> set[str]:
    taken: set[str] = set()
    have = 0
    for group in sorted(sizes, key=lambda name: max(sizes[name] - target, 0)):
        nearer = abs(have + sizes[group] - target) < abs(have - target)
        if not taken or (nearer and len(taken) < at_most):
            taken.add(group)
            have += sizes[group]
    return taken


def _check_labels(rows: Sequence[Row], splits: Sequence[Split], source: str) -> None:
    learning = {label: Counter[Split]() for label in sorted({row.label for row in rows})}
    groups: dict[str, set[str]] = defaultdict(set)
    for row, split in zip(rows, splits, strict=True):
        if split != "test":
            learning[row.label][split] += 1
            groups[row.label].add(row.group)
    for label, counts in learning.items():
        absent = [split for split in LEARNING_SPLITS if not counts[split]]
        if absent:
            raise InputError(
                f"{source}: label {label} has {len(groups[label])} group(s) outside the test part and so no clip in "
                f"{' and '.join(absent)}: it needs a group of its own in each of train, valid and calibration, "
                "so add recordings or leave the label out"
            )
