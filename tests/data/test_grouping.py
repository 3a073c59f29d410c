"""Groups from file names: --group-from keeps each source in one split; without it there is a warning."""

import csv
import shlex
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from asc.config.data_choice import DataChoice
from asc.data.grouping import grouped, shared_stems
from asc.data.manifest import Manifest, load_manifest
from asc.data.rows import UNKNOWN_DEVICE, Row
from asc.errors import InputError
from asc.results import Split

REAL_ESC10 = Path(__file__).parents[3] / "shared" / "data" / "esc10"
PATTERN = r"/(\d+-\d+)-"
SIZES = {"dog": [2, 2, *[1] * 36], "helicopter": [6, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1]}


def esc10() -> dict[str, tuple[str, str]]:
    """Label and source by clip name: the real ESC-10 if available, else two classes named like it."""
    if (REAL_ESC10 / "meta.csv").is_file():
        with (REAL_ESC10 / "meta.csv").open(encoding="utf-8") as text:
            return {Path(r["filename"]).name: (r["label"], r["source_id"]) for r in csv.DictReader(text)}
    return {
        f"{number % 5 + 1}-{ord(label[0])}{number}-{chr(65 + take)}-{label}.ogg": (label, f"{ord(label[0])}{number}")
        for label, sizes in SIZES.items()
        for number, size in enumerate(sizes)
        for take in range(size)
    }


@pytest.fixture
def folders(tmp_path: Path) -> str:
    """ESC-10 as class folders of empty files, since a manifest decodes nothing."""
    for name, (label, _) in esc10().items():
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / name).touch()
    return f"folder:{tmp_path}"


def rows(*paths: str, label: str | None = None) -> tuple[Row, ...]:
    return tuple(
        Row(path=path, label=label or path.partition("/")[0], device=UNKNOWN_DEVICE, group=path) for path in paths
    )


def parted(manifest: Manifest) -> int:
    """Count the ESC-10 sources that have clips in more than one split."""
    splits = defaultdict(set)
    for clip in manifest.clips:
        splits[esc10()[Path(clip.path).name]].add(clip.split)
    return sum(len(found) > 1 for found in splits.values())


def test_a_pattern_keeps_each_source_within_one_split(folders: str) -> None:
    plain, kept = (load_manifest(DataChoice(folders, group_from=pattern)) for pattern in (None, PATTERN))
    sources = Counter(source for _, source in esc10().values())
    assert len({clip.group for clip in kept.clips}) == len(sources) and parted(kept) == 0 < parted(plain)
    assert kept.warnings == () and kept.digest != plain.digest
    shares = Counter(clip.split for clip in kept.clips)
    assert {*shares} == {"train", "valid", "calibration", "test"}
    assert shares["test"] / len(kept.clips) == pytest.approx(0.2, abs=0.03)


def test_the_warning_gives_counts_and_the_option_that_fixes_it(folders: str) -> None:
    plain = load_manifest(DataChoice(folders))
    takes = Counter(source for _, source in esc10().values())
    several = [count for count in takes.values() if count > 1]
    (note,) = plain.warnings
    assert note.startswith(f"{sum(several)} files of {folders} begin like another file of their class (")
    assert f"now {parted(plain)} of the {len(several)} beginnings are in more than one split" in note
    words = shlex.split(note.partition(":")[2].partition(": now")[0])
    assert words[words.index("--group-from") + 1] == PATTERN


def test_a_folder_below_the_class_can_be_a_group(tmp_path: Path) -> None:
    paths = [f"{label}/place{place}/{take}.wav" for label in "ab" for place in range(20) for take in range(3)]
    found = grouped(rows(*paths), "^([^/]+/[^/]+)/", source="s")
    assert [row.group for row in found[:4]] == ["a/place0", "a/place0", "a/place0", "a/place1"]
    assert shared_stems(rows(*paths), ["train"] * len(paths), source="s") == (), "no group is split"
    (note,) = shared_stems(rows(*paths), ["test", *["train"] * (len(paths) - 1)], source="s")
    assert "now 1 of the 40 beginnings are in more than one split, so figures would be too good" in note
    assert r"'/([A-Za-z]+\d+)/'" in note


def test_the_texts_of_several_parentheses_are_joined() -> None:
    found = grouped(rows("x/1-a-7.wav", "x/b.wav"), r"(\d)-\w-(\d)|/(\w)\.", source="s")
    assert [row.group for row in found] == ["1-7", "b"]


@pytest.mark.parametrize(
    "paths",
    [
        [f"dog/dog-{number}.wav" for number in range(20)],
        [f"dog/{number:03d}.wav" for number in range(20)],
        [f"dog/dog{number}.wav" for number in range(20)],
        [f"{label}/{number}-a.wav" for label in ("dog", "cat") for number in range(20)],
        ["dog/a.wav"],
        [],
    ],
)
def test_names_that_are_only_numbered_give_no_warning(paths: list[str]) -> None:
    splits: list[Split] = ["test" if number % 2 else "train" for number in range(len(paths))]
    assert shared_stems(rows(*paths), splits, source="s") == ()


@pytest.mark.parametrize(
    ("paths", "pattern"),
    [
        (["street1a.wav", "street1b.wav", "street2a.wav"], r"'^([A-Za-z]+\d+)[A-Za-z]+'"),
        (["2 (1).wav", "2 (2).wav", "3 (1).wav"], r"'^(\d+) '"),
        (["é_1.wav", "é_2.wav", "a_1.wav"], "REGEX"),
        (["1_1.wav", "1_2.wav", "x.wav"], "REGEX"),
    ],
)
def test_a_pattern_is_suggested_only_if_it_fits_every_name(paths: list[str], pattern: str) -> None:
    (note,) = shared_stems(rows(*paths, label="street"), ["train", "test", "train"], source="s")
    assert f"--group-from {pattern}: now 1 of the 1 beginnings are in more than one split" in note


def test_a_set_with_its_own_groups_refuses_a_pattern(tmp_path: Path) -> None:
    lines = [f"{label}-{number}-{take}.wav,{label},{number}" for label in "xy" for number in range(9) for take in "ab"]
    (tmp_path / "set.csv").write_text("\n".join(["filename,label,group", *lines]))
    for line in lines:
        (tmp_path / line.partition(",")[0]).touch()
    spec = f"csv:{tmp_path / 'set.csv'}"
    assert load_manifest(DataChoice(spec)).warnings == ()
    with pytest.raises(InputError, match=r"set.csv already has groups: leave --group-from .* out"):
        load_manifest(DataChoice(spec, group_from=r"-(\d)-"))
    (tmp_path / "set.csv").write_text("\n".join(["filename,label", *(line.rpartition(",")[0] for line in lines)]))
    assert len(load_manifest(DataChoice(spec)).warnings) == 1
    assert {clip.group for clip in load_manifest(DataChoice(spec, group_from=r"^(.-\d)-")).clips} == {
        f"{label}-{number}" for label in "xy" for number in range(9)
    }
    with pytest.raises(InputError, match="synthetic already has groups"):
        load_manifest(DataChoice("synthetic", group_from="(.)"))


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("(", r"--group-from \( is not a regular expression \(missing \)"),
        ("(a{99999999999})", "is not a regular expression"),
        (r"\d+-\d+", r"has no parentheses: put them around the part of a file name"),
        ("", "has no parentheses"),
        (r"/(\d+)-\d+-A", r"finds no group in \d+ of the \d+ file names of folder:.*: give a pattern that fits all"),
        ("(x*)", r"finds no group in .* and \d+ more\)"),
    ],
)
def test_a_wrong_pattern_is_refused(folders: str, pattern: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        load_manifest(DataChoice(folders, group_from=pattern))
    assert "\n" not in str(caught.value)


def test_the_digest_of_a_set_without_a_pattern_is_pinned(tmp_path: Path) -> None:
    for label in "xy":
        (tmp_path / label).mkdir()
        for number in range(10):
            (tmp_path / label / f"{number}.wav").touch()
    digest = load_manifest(DataChoice(f"folder:{tmp_path}")).digest
    assert digest == "17dc10ac4cbc781a102a61ab095d577cc50eddf1c2f8c353481dbd2592ae4dc8"
