"""Manifests: every kind of data set, and a one-sentence error for every kind of fault."""

import csv
import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from asc.config.data_choice import DataChoice
from asc.data.manifest import Clip, Manifest, load_manifest
from asc.errors import InputError

REAL_ESC10 = Path(__file__).parents[3] / "shared" / "data" / "esc10"
ESC10_GROUPS = {  # clips per source of ESC-10, counted from its meta.csv
    "chainsaw": [3] + [2] * 16 + [1] * 5,
    "clock_tick": [1] * 40,
    "crackling_fire": [2] * 8 + [1] * 24,
    "crying_baby": [7, 5, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1],
    "dog": [2] * 2 + [1] * 36,
    "helicopter": [6, 5, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1],
    "rain": [1] * 40,
    "rooster": [3] + [2] * 5 + [1] * 27,
    "sea_waves": [3] * 2 + [2] * 10 + [1] * 14,
    "sneezing": [1] * 40,
}


@pytest.fixture(scope="module")
def esc10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ESC-10 if available, else empty files with its structure: eight clips per label and fold."""
    if (REAL_ESC10 / "meta.csv").is_file():
        return REAL_ESC10
    folder = tmp_path_factory.mktemp("esc10")
    (folder / "audio").mkdir()
    lines = ["filename,label,fold,source_id,take"]
    for label, groups in ESC10_GROUPS.items():
        room = dict.fromkeys(range(1, 6), 8)
        for source, size in enumerate(groups):
            fold = max(room, key=lambda number: room[number])
            room[fold] -= size
            for take in range(size):
                name = f"audio/{fold}-{label}{source}-{take}.ogg"
                (folder / name).touch()
                lines.append(f"{name},{label},{fold},{label}{source},{take}")
    (folder / "meta.csv").write_text("\n".join(lines))
    return folder


def write_csv(folder: Path, header: str, *lines: str, touch: bool = True) -> str:
    (folder / "set.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    for line in lines if touch else ():
        (folder / line.split(",")[0]).touch()
    return f"csv:{folder / 'set.csv'}"


def many(*, labels: str = "xy", clips: int = 10, extra: str = "") -> list[str]:
    return [f"{label}{i}.wav,{label}{extra.format(i=i)}" for label in labels for i in range(clips)]


@pytest.mark.parametrize("fold", range(1, 6))
def test_esc10_has_four_disjoint_splits_with_15_percent_shares(esc10: Path, fold: int) -> None:
    manifest = load_manifest(DataChoice(f"esc10:{esc10}", fold=fold))
    assert len(manifest.clips) == 400 and len(manifest.labels) == 10
    assert {clip.device for clip in manifest.clips} == {"unknown"}
    groups = defaultdict(set)
    for clip in manifest.clips:
        groups[clip.split].add(clip.group)
    names = list(groups)
    assert sorted(names) == ["calibration", "test", "train", "valid"]
    assert not any(groups[a] & groups[b] for a in names for b in names if a < b)
    count = Counter((clip.label, clip.split) for clip in manifest.clips)
    total = Counter(clip.split for clip in manifest.clips)
    learning = 400 - total["test"]
    assert total["valid"] / learning == pytest.approx(0.15, abs=0.02)
    assert total["calibration"] / learning == pytest.approx(0.15, abs=0.02)
    assert all(3 <= count[label, split] <= 8 for label in manifest.labels for split in ("valid", "calibration"))


def test_esc10_test_fold_is_taken_from_the_set(esc10: Path) -> None:
    with (esc10 / "meta.csv").open(encoding="utf-8") as text:
        folds = {row["filename"]: int(row["fold"]) for row in csv.DictReader(text)}
    manifest = load_manifest(DataChoice(f"esc10:{esc10}", fold=4))
    assert {clip.path for clip in manifest.clips if clip.split == "test"} == {p for p, f in folds.items() if f == 4}
    with pytest.raises(InputError, match="has no fold 6: choose one of 1, 2, 3, 4, 5"):
        load_manifest(DataChoice(f"esc10:{esc10}", fold=6))


def test_the_order_of_clips_is_the_same_in_every_fold_and_seed(esc10: Path) -> None:
    first, other = (load_manifest(DataChoice(f"esc10:{esc10}", fold=fold, data_seed=fold)) for fold in (1, 2))
    assert [clip.path for clip in first.clips] == [clip.path for clip in other.clips]
    assert first.digest != other.digest


def test_csv_reads_every_column(tmp_path: Path) -> None:
    spec = write_csv(tmp_path, "filename, label, device, group, split", *many(extra=", mic{i}, g{i}, train"))
    manifest = load_manifest(DataChoice(spec))
    assert manifest.source == tmp_path and manifest.labels == ("x", "y")
    assert [(clip.device, clip.group) for clip in manifest.clips[:2]] == [("mic0", "g0"), ("mic1", "g1")]
    assert {clip.split for clip in manifest.clips} == {"train", "valid", "calibration"}


def test_csv_without_group_or_device(tmp_path: Path) -> None:
    manifest = load_manifest(DataChoice(write_csv(tmp_path, "filename,label", *many())))
    assert all(clip.group == clip.path and clip.device == "unknown" for clip in manifest.clips)
    assert Counter(clip.split for clip in manifest.clips)["test"] == 4


def test_csv_with_byte_order_mark_and_fold(tmp_path: Path) -> None:
    spec = write_csv(tmp_path, "filename,label,fold", *[f"{line},{i % 3}" for i, line in enumerate(many())])
    file = tmp_path / "set.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    manifest = load_manifest(DataChoice(spec, fold=0))
    assert [clip.split for clip in manifest.clips if clip.split == "test"] == ["test"] * 7


@pytest.mark.parametrize(
    ("header", "line", "sentence"),
    [
        ("name,label", "x0.wav,x", r"set.csv has no column filename: its columns are name, label"),
        ("filename,scene", "x0.wav,x", r"set.csv has no column label: its columns are filename, scene"),
        ("filename,label,split,fold", "x0.wav,x,train,1", "has both a split and a fold column"),
        ("filename,label,split", "x0.wav,x,dev", "line 2 has split dev: write one of train, valid, calibration, test"),
        ("filename,label,fold", "x0.wav,x,one", "line 2 has fold one: write a whole number"),
        ("filename,label,device", "x0.wav,x,", "line 2 has no device: fill the cell"),
        ("filename,label,group", "x0.wav,x", "line 2 has no group: fill the cell"),
        ("filename,label", "x0.wav,x,y", "line 2 has more cells than the header"),
        ("filename,label", '"x0.wav,x', "not a well-formed CSV file"),
    ],
)
def test_a_wrong_csv_row_is_refused(tmp_path: Path, header: str, line: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_manifest(DataChoice(write_csv(tmp_path, header, line)))


def test_a_wrong_csv_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    with pytest.raises(InputError, match="set.csv does not exist or is not a file"):
        load_manifest(DataChoice(f"csv:{file}"))
    for content, sentence in (
        (b"", "has no rows"),
        (b"filename,label\n", "has no rows"),
        (b"caf\xe9,x\n", "not UTF-8"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=sentence):
            load_manifest(DataChoice(f"csv:{file}"))


def test_listed_files_that_do_not_exist_are_named(tmp_path: Path) -> None:
    spec = write_csv(tmp_path, "filename,label", *many(labels="x", clips=13), touch=False)
    with pytest.raises(InputError, match=r"lists 13 file\(s\) that do not exist .*x0.wav, .*x9.wav.*x12.wav$"):
        load_manifest(DataChoice(spec))


def test_duplicates_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lists 1 file\(s\) more than once, keep one row of each: x3.wav"):
        load_manifest(DataChoice(write_csv(tmp_path, "filename,label", *many(), "x3.wav,y")))


def test_a_group_in_two_given_splits_is_refused(tmp_path: Path) -> None:
    lines = [f"{line},{'test' if i % 5 == 0 else 'train'},g{i // 2}" for i, line in enumerate(many())]
    with pytest.raises(InputError, match="group g0 lies in two splits, test and train"):
        load_manifest(DataChoice(write_csv(tmp_path, "filename,label,split,group", *lines)))


def test_a_group_in_two_folds_is_refused(tmp_path: Path) -> None:
    lines = [f"{line},{i % 5 + 1},g{i // 2}" for i, line in enumerate(many(clips=20))]
    with pytest.raises(InputError, match="lies in two splits"):
        load_manifest(DataChoice(write_csv(tmp_path, "filename,label,fold,group", *lines)))


def test_manifest_checks_its_own_groups_and_labels() -> None:
    clips = [Clip(path=p, label="x", device="a", group="g", split=s) for p, s in (("1", "train"), ("2", "valid"))]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="group g lies in two splits, train and valid"):
        Manifest(choice=DataChoice("set"), labels=("x", "y"), clips=tuple(clips))
    with pytest.raises(InputError, match="set has only the label x"):
        Manifest(choice=DataChoice("set"), labels=("x",), clips=tuple(clips[:1]))


def test_class_folders_are_read(tmp_path: Path) -> None:
    for label in ("rain", "sea"):
        (tmp_path / label / "deeper").mkdir(parents=True)
        for i in range(10):
            (tmp_path / label / ("deeper" if i > 5 else "") / f"{i}.{'FLAC' if i % 2 else 'wav'}").touch()
        (tmp_path / label / "notes.txt").touch()
        (tmp_path / label / "._0.wav").touch()
    (tmp_path / ".cache").mkdir()
    manifest = load_manifest(DataChoice(f"folder:{tmp_path}"))
    assert manifest.labels == ("rain", "sea") and len(manifest.clips) == 20
    assert Counter(clip.split for clip in manifest.clips) == {"train": 12, "test": 4, "valid": 2, "calibration": 2}
    (tmp_path / "snow").mkdir()
    with_side_folder = load_manifest(DataChoice(f"folder:{tmp_path}"))
    assert with_side_folder.clips == manifest.clips and with_side_folder.digest == manifest.digest
    warning = f"1 folder has no audio and is no class of folder:{tmp_path}: snow"
    assert with_side_folder.warnings == (warning, *manifest.warnings)


def test_a_wrong_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist or is not a folder"):
        load_manifest(DataChoice(f"folder:{tmp_path / 'nowhere'}"))
    with pytest.raises(InputError, match="nowhere does not exist or is not a folder"):
        load_manifest(DataChoice(f"esc10:{tmp_path / 'nowhere'}"))
    with pytest.raises(InputError, match="meta.csv does not exist"):
        load_manifest(DataChoice(f"esc10:{tmp_path}"))
    with pytest.raises(InputError, match=r"has 0 class folder\(s\)"):
        load_manifest(DataChoice(f"folder:{tmp_path}"))


@pytest.mark.parametrize("spec", ["tau:somewhere", "esc10", "csv:", "tau2020:", "", "wav"])
def test_an_unknown_kind_lists_all_kinds(spec: str) -> None:
    with pytest.raises(
        InputError, match="synthetic, esc10:DIR, csv:FILE, folder:DIR, tau2020:DIR, tau2022:DIR or tau2025:DIR"
    ):
        load_manifest(DataChoice(spec))


def test_the_digest_depends_on_the_rows_not_the_location(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        digests.append(load_manifest(DataChoice(write_csv(tmp_path / name, "filename,label", *many()))).digest)
    assert digests[0] == digests[1] and len(bytes.fromhex(digests[0])) == hashlib.sha256().digest_size
    assert load_manifest(DataChoice("synthetic:1")).digest != load_manifest(DataChoice("synthetic:2")).digest


def test_part_all_has_no_test_split_and_its_own_digest(esc10: Path) -> None:
    everything = load_manifest(DataChoice(f"esc10:{esc10}", part="all"))
    assert Counter(clip.split for clip in everything.clips).keys() == {"train", "valid", "calibration"}
    assert len(everything.clips) == 400 and not everything.held_out
    shares = Counter(clip.split for clip in everything.clips)
    assert shares["valid"] / 400 == pytest.approx(0.15, abs=0.02)
    assert load_manifest(DataChoice(f"esc10:{esc10}", part="all", fold=3)).digest == everything.digest
    assert load_manifest(DataChoice(f"esc10:{esc10}")).digest != everything.digest


def test_part_all_has_its_own_digest_even_if_no_split_changes(tmp_path: Path) -> None:
    spec = write_csv(tmp_path, "filename,label,split", *many(extra=",train"))
    development, everything = load_manifest(DataChoice(spec)), load_manifest(DataChoice(spec, part="all"))
    assert development.clips == everything.clips and development.digest != everything.digest
