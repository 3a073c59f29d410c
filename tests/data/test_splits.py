"""Splits: groups stay whole, shares are 15 %, every split has all labels, and the data seed decides."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc.data.rows import Row
from asc.data.splits import split_rows
from asc.errors import InputError


def rows_of(sizes: dict[str, list[int]], *, fold: int | None = None) -> list[Row]:
    """Rows with `sizes[label]` as the number of clips in each group of the label."""
    return [
        Row(path=f"{label}-{group}-{clip}", label=label, device="a", group=f"{label}-{group}", fold=fold)
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for clip in range(size)
    ]


def split(rows: list[Row], *, fold: int = 1, data_seed: int = 0) -> tuple[str, ...]:
    return split_rows(rows, source="set", fold=fold, data_seed=data_seed)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.integers(1, 12), min_size=8, max_size=40), min_size=2, max_size=5
    ),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_groups_stay_whole_and_every_label_is_in_every_split(
    sizes: dict[str, list[int]], fold: int, data_seed: int
) -> None:
    rows = rows_of(sizes)
    splits = split(rows, fold=fold, data_seed=data_seed)
    where = defaultdict(set)
    for row, name in zip(rows, splits, strict=True):
        where[row.group].add(name)
    assert all(len(names) == 1 for names in where.values())
    present = {(row.label, name) for row, name in zip(rows, splits, strict=True)}
    assert present == {(label, name) for label in sizes for name in ("train", "valid", "calibration", "test")}


def test_shares_are_15_percent_of_the_training_part_per_label() -> None:
    rows = rows_of({"x": [4] * 25, "y": [1] * 100, "z": [5, 3, 2, 1, 1, 1, 1, 1, 1, 2, 2] * 5})
    splits = split(rows)
    for label in "xyz":
        count = Counter(name for row, name in zip(rows, splits, strict=True) if row.label == label)
        learning = count["train"] + count["valid"] + count["calibration"]
        assert count["test"] / count.total() == pytest.approx(0.2, abs=0.02)
        assert count["valid"] / learning == pytest.approx(0.15, abs=0.03)
        assert count["calibration"] / learning == pytest.approx(0.15, abs=0.03)


def test_generated_folds_test_every_clip_once() -> None:
    rows = rows_of({"x": [2] * 20, "y": [1] * 33})
    tested = Counter(
        row.path
        for fold in range(1, 6)
        for row, name in zip(rows, split(rows, fold=fold), strict=True)
        if name == "test"
    )
    assert set(tested.values()) == {1} and len(tested) == len(rows)


def test_one_giant_group_does_not_starve_train() -> None:
    rows = [
        Row(path=f"{label}{i}", label=label, device="a", group=f"{label}{group}", given="train")
        for label in "xy"
        for i, group in enumerate([0] * 10 + [1, 2])
    ]
    splits = split(rows)
    assert Counter(name for row, name in zip(rows, splits, strict=True) if row.label == "x") == {
        "train": 10,
        "valid": 1,
        "calibration": 1,
    }


def test_the_data_seed_determines_the_splits() -> None:
    rows = rows_of({"x": [1] * 40, "y": [1] * 40})
    assert split(rows) == split(rows)
    assert split(rows, data_seed=1) != split(rows)


def test_given_splits_are_kept_and_missing_ones_are_made() -> None:
    names = ["train"] * 20 + ["valid"] * 4 + ["test"] * 4
    rows = [
        Row(path=f"{label}{i}", label=label, device="a", group=f"{label}{i}", given=name)  # type: ignore[arg-type]
        for label in "xy"
        for i, name in enumerate(names)
    ]
    splits = split(rows)
    for row, name in zip(rows, splits, strict=True):
        assert name == row.given or (row.given == "train" and name == "calibration")
    assert splits.count("calibration") == 6


def test_impossible_splits_are_refused() -> None:
    few = rows_of({"x": [1] * 10, "rare": [3, 2, 1]})
    with pytest.raises(InputError, match=r"label rare has 2 group\(s\) outside the test part"):
        split(few)
    with pytest.raises(InputError, match="set has no fold 6: choose one of 1, 2, 3, 4, 5"):
        split(rows_of({"x": [1] * 10, "y": [1] * 10}), fold=6)
    given_splits = [Row(path="p", label="x", device="a", group="p", given="train")]
    with pytest.raises(InputError, match="set has fixed splits and so only fold 1: fold 2 does not exist"):
        split(given_splits, fold=2)


def test_half_of_every_label_of_calibration_is_set_aside_to_confirm_and_nothing_else_moves() -> None:
    rows = rows_of({"x": [4] * 40, "y": [1] * 160, "z": [3, 2, 1] * 30})
    plain = split(rows)
    confirmed = split_rows(rows, source="set", fold=1, data_seed=0, part="confirmed")
    moved = [(a, b) for a, b in zip(plain, confirmed, strict=True) if a != b]
    assert set(moved) == {("calibration", "confirmation")}
    where = defaultdict(set)
    for row, name in zip(rows, confirmed, strict=True):
        where[row.group].add(name)
    assert all(len(names) == 1 for names in where.values())
    for label in "xyz":
        count = Counter(name for row, name in zip(rows, confirmed, strict=True) if row.label == label)
        assert count["confirmation"] == pytest.approx(count["calibration"], abs=4)
    again = split_rows(rows[::-1], source="set", fold=1, data_seed=0, part="confirmed")
    assert again[::-1] == confirmed, "the order of the rows does not matter"
    assert split_rows(rows, source="set", fold=1, data_seed=1, part="confirmed") != confirmed


def test_a_calibration_split_with_one_group_of_a_label_cannot_be_halved() -> None:
    rows = rows_of({"x": [4] * 40, "y": [4] * 5})
    assert "calibration" in split(rows)
    with pytest.raises(InputError, match=r"set: the calibration split has too few groups of y to calibrate on after"):
        split_rows(rows, source="set", fold=1, data_seed=0, part="confirmed")
