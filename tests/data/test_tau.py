"""TAU Mobile of 2020, 2022 and 2025: published counts on the real metadata, and faults in a made-up tree."""

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from asc.config.data_choice import DataChoice
from asc.data.manifest import Manifest, load_manifest
from asc.data.tau import SCENES, SPLIT25, Edition, read_metadata, some
from asc.errors import InputError

REAL_META = Path(__file__).parents[3] / "shared" / "data" / "tau2020_meta"
TRAIN_PER_CLASS = (1393, 1400, 1382, 1380, 1429, 1427, 1373, 1386, 1413, 1379)
CITIES = {
    *("barcelona", "helsinki", "lisbon", "london", "lyon"),
    *("milan", "paris", "prague", "stockholm", "vienna"),
}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real metadata with empty audio files."""
    if not (REAL_META / "meta.csv").is_file():
        pytest.skip("the real metadata is not available")
    root = tmp_path_factory.mktemp("real")
    (root / "audio").mkdir()
    shutil.copy(REAL_META / "meta.csv", root)
    shutil.copytree(REAL_META / "evaluation_setup", root / "evaluation_setup")
    for path in read_metadata(root, "tau2020").paths:
        (root / path).touch()
    return root


@pytest.fixture(scope="module")
def development(real: Path) -> Manifest:
    return load_manifest(DataChoice(f"tau2020:{real}"))


def test_the_real_set_has_the_published_counts(development: Manifest) -> None:
    count = Counter("test" if clip.split == "test" else "train" for clip in development.clips)
    assert count == {"train": 13_962, "test": 2_968} and len(development.clips) == 23_035 - 6_105
    assert development.labels == SCENES == tuple(sorted(SCENES)) and development.labelled
    learning = Counter(clip.label for clip in development.clips if clip.split != "test")
    assert tuple(learning[scene] for scene in SCENES) == TRAIN_PER_CLASS
    held = {split: sum(clip.split == split for clip in development.clips) for split in ("valid", "calibration")}
    assert all(size / 13_962 == pytest.approx(0.15, abs=0.01) for size in held.values())


def test_the_real_set_has_the_published_devices(development: Manifest) -> None:
    learning = Counter(clip.device for clip in development.clips if clip.split != "test")
    assert learning == {"a": 10_215, "b": 749, "c": 748, "s1": 750, "s2": 750, "s3": 750}
    tested = Counter(clip.device for clip in development.clips if clip.split == "test")
    assert tested == {**dict.fromkeys(("a", "s1", "s2", "s3", "s4", "s5", "s6"), 330), "b": 329, "c": 329}
    cells = Counter((clip.label, clip.device) for clip in development.clips if clip.split == "test")
    assert {cell for cell, size in cells.items() if size != 33} == {("airport", "b"), ("tram", "c")}
    assert cells["airport", "b"] == cells["tram", "c"] == 32


def test_the_real_set_has_the_published_places(development: Manifest) -> None:
    groups = defaultdict(set)
    for clip in development.clips:
        groups["test" if clip.split == "test" else "train"].add(clip.group)
    assert (len(groups["train"]), len(groups["test"])) == (365, 146) and not groups["train"] & groups["test"]
    assert {group.split("-")[0] for part in groups.values() for group in part} == CITIES
    splits = defaultdict(set)
    for clip in development.clips:
        splits[clip.group].add(clip.split)
    assert all(len(names) == 1 for names in splits.values())


def test_part_all_takes_the_whole_real_set(real: Path, development: Manifest) -> None:
    everything = load_manifest(DataChoice(f"tau2020:{real}", part="all"))
    assert len(everything.clips) == 23_035 and everything.digest != development.digest
    assert Counter(clip.device for clip in everything.clips) == {
        **{"a": 14_400, "b": 1_078, "c": 1_077},
        **{f"s{number}": 1_080 for number in range(1, 7)},
    }
    assert not [clip for clip in everything.clips if clip.split == "test"]
    assert len({clip.group for clip in everything.clips}) == 514


def test_a_file_missing_from_the_real_set_is_named(real: Path) -> None:
    rows = read_metadata(real, "tau2020").rows
    unused = next(row.path for row in rows if row.given is None)
    used = next(row.path for row in rows if row.given)
    for path in (unused, used):
        (real / path).unlink()
    try:
        with pytest.raises(InputError, match=f"lacks 1 of 16,930 listed audio files, .* {used}$"):
            load_manifest(DataChoice(f"tau2020:{real}"))
        with pytest.raises(InputError, match="lacks 2 of 23,035 listed audio files"):
            load_manifest(DataChoice(f"tau2020:{real}", part="all"))
    finally:
        for path in (unused, used):
            (real / path).touch()


def made(root: Path, *, edition: Edition = "tau2020") -> Path:
    """A tree of empty files: 10 scenes x 6 places x devices a and s1. Place 5 is test, place 4 is unused."""
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    meta, train, test = ["filename\tscene_label\tidentifier\tsource_label"], ["filename\tscene_label"], ["filename"]
    second = "" if edition == "tau2020" else "-0"
    for scene in SCENES:
        for place in range(6):
            for device in ("a", "s1"):
                name = f"audio/{scene}-lyon-{scene[:1]}{len(scene)}{place}-7{second}-{device}.wav"
                (root / name).touch()
                meta.append(f"{name}\t{scene}\tlyon-{scene[:1]}{len(scene)}{place}\t{device}")
                if place < 4:
                    train.append(f"{name}\t{scene}")
                elif place == 5:
                    test.append(name)
    (root / "meta.csv").write_text("\n".join(meta) + "\n")
    (root / "evaluation_setup" / "fold1_train.csv").write_text("\n".join(train) + "\n")
    (root / "evaluation_setup" / "fold1_test.csv").write_text("\n".join(test) + "\n")
    evaluate = [test[0] + "\tscene_label", *(f"{name}\t{name[6:].split('-')[0]}" for name in test[1:])]
    (root / "evaluation_setup" / "fold1_evaluate.csv").write_text("\n".join(evaluate) + "\n")
    return root


@pytest.mark.parametrize("edition", ["tau2020", "tau2022"])
def test_a_made_up_set_is_read(tmp_path: Path, edition: Edition) -> None:
    root = made(tmp_path / f"TAU-urban-acoustic-scenes-{edition[3:]}-mobile-development", edition=edition)
    manifest = load_manifest(DataChoice(f"{edition}:{root}"))
    assert load_manifest(DataChoice(f"{edition}:{tmp_path}")).digest == manifest.digest
    assert manifest.source == root and manifest.labels == SCENES
    assert Counter(clip.split for clip in manifest.clips) == {"train": 40, "valid": 20, "calibration": 20, "test": 20}
    assert {(clip.label, clip.device, clip.group) for clip in manifest.clips if "tram-lyon-t45" in clip.path} == {
        ("tram", "a", "lyon-t45"),
        ("tram", "s1", "lyon-t45"),
    }
    assert not [clip for clip in manifest.clips if clip.group.endswith("4") and clip.split != "test"]
    everything = load_manifest(DataChoice(f"{edition}:{tmp_path}", part="all"))
    assert len(everything.clips) == 120 and not [clip for clip in everything.clips if clip.split == "test"]
    with pytest.raises(InputError, match="only fold 1"):
        load_manifest(DataChoice(f"{edition}:{root}", fold=2))


def test_one_of_the_two_test_lists_is_enough(tmp_path: Path) -> None:
    root = made(tmp_path)
    digest = load_manifest(DataChoice(f"tau2020:{root}")).digest
    for name in ("fold1_test.csv", "fold1_evaluate.csv"):
        file = root / "evaluation_setup" / name
        text = file.read_text()
        file.unlink()
        assert load_manifest(DataChoice(f"tau2020:{root}")).digest == digest
        file.write_text(text)


META, TRAIN, TEST, EVALUATE = "meta.csv", *(f"evaluation_setup/fold1_{n}.csv" for n in ("train", "test", "evaluate"))
BUS = "audio/bus-lyon-b30-7-a.wav"


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (META, "scene_label", "label", "meta.csv has no column scene_label: .*tab-separated"),
        (META, "\t", ",", "meta.csv has no column filename and no column scene_label"),
        (
            META,
            f"{BUS}\tbus",
            f"{BUS}\ttram",
            f"source_label contradict.*rows: {BUS} .1 more: ",
        ),
        (META, f"{BUS}\tbus\tlyon-b30", f"{BUS}\tbus\tparis-b30", "contradict their names"),
        (META, "b30\ta", "b30\tb", "contradict their names"),
        (META, "b30\ta", "b30\t", "1 clip.s. without as many cells as columns: line 14"),
        (META, "b30\ta", "b30\ta\tx", "1 clip.s. without as many cells as columns: line 14"),
        (META, f"{BUS}\tbus", "audio/bus.wav\tbus", "1 clip.s. with names that do not fit tau2020"),
        (META, f"{BUS}\tbus", "../bus-lyon-b30-7-a.wav\tbus", "with names that do not fit tau2020"),
        (META, f"{BUS}\tbus\tlyon-b30\ta\n", "", "fold1_train.csv lists 1 clip.s. that meta.csv does not have"),
        (META, "airport", "harbour", "unknown scenes .harbour. and no clip of airport: TAU has ten scenes"),
        (TRAIN, "\tbus", "\ttram", "fold1_train.csv lists 8 clip.s. with another scene than in meta.csv.* and 5 more$"),
        (TRAIN, f"{BUS}\tbus\n", f"{BUS}\tbus\n{BUS}\tbus\n", f"1 clip.s. more than once.*{BUS}$"),
        (EVALUATE, "audio/bus-lyon-b35-7-a.wav\tbus\n", "", "1 clip.s. that differ from .*fold1_test.csv"),
        (TRAIN, "filename\tscene_label\n", "", "fold1_train.csv has no column filename"),
        (TEST, "filename", "name", "fold1_test.csv has no column filename"),
    ],
)
def test_contradictory_metadata_is_refused(tmp_path: Path, file: str, old: str, new: str, sentence: str) -> None:
    root = made(tmp_path)
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=sentence) as caught:
        load_manifest(DataChoice(f"tau2020:{root}"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 900


def test_a_clip_or_a_place_in_both_parts_is_refused(tmp_path: Path) -> None:
    root = made(tmp_path)
    tested = "audio/bus-lyon-b35-7-a.wav"
    (root / TRAIN).write_text((root / TRAIN).read_text() + f"{tested}\tbus\n")
    with pytest.raises(InputError, match=rf"fold1_train.csv lists 1 clip\(s\) that {TEST} lists too.*: {tested}"):
        load_manifest(DataChoice(f"tau2020:{root}"))
    for file in (TEST, EVALUATE):
        (root / file).write_text((root / file).read_text().replace(tested, "audio/bus-lyon-b34-7-a.wav"))
    with pytest.raises(InputError, match=r"has 1 location\(s\) in both training and test, fetch it again: lyon-b35"):
        load_manifest(DataChoice(f"tau2020:{root}"))


def test_a_tree_with_missing_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere has neither meta.csv nor evaluation_setup/.*download tau2022 --to"):
        load_manifest(DataChoice(f"tau2022:{tmp_path / 'nowhere'}"))
    root = made(tmp_path / "set")
    with pytest.raises(InputError, match=r"names its clips like tau2020: write tau2020:"):
        load_manifest(DataChoice(f"tau2022:{root}"))
    (root / TRAIN).unlink()
    with pytest.raises(InputError, match=r"fold1_train.csv is missing: fetch the metadata again with"):
        load_manifest(DataChoice(f"tau2020:{root}"))
    shutil.copytree(root / "evaluation_setup", tmp_path / "other" / "evaluation_setup")
    (tmp_path / "other" / TRAIN).write_text("filename\tscene_label\na\tb\n")
    with pytest.raises(InputError, match=r"meta.csv is missing"):
        load_manifest(DataChoice(f"tau2020:{tmp_path / 'other'}"))


def test_a_tree_without_audio_names_a_few_files(tmp_path: Path) -> None:
    root = made(tmp_path)
    shutil.rmtree(root / "audio")
    with pytest.raises(InputError, match=r"lacks 100 of 100 listed audio files.* and 97 more$"):
        load_manifest(DataChoice(f"tau2020:{root}"))


def test_an_evaluation_set_has_only_names(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    for number in range(12):
        (tmp_path / "audio" / f"{number}.wav").touch()
    lines = ["filename", *(f"audio/{number}.wav" for number in range(12))]
    (tmp_path / TEST).write_text("\n".join(lines))
    manifest = load_manifest(DataChoice(f"tau2020:{tmp_path}", part="all", fold=2))
    assert not manifest.labelled and manifest.held_out and manifest.labels == SCENES
    assert [clip.path for clip in manifest.clips] == lines[1:]
    assert {(clip.label, clip.split, clip.device) for clip in manifest.clips} == {(None, "test", "unknown")}
    (tmp_path / "audio" / "3.wav").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of 12 listed audio files, .*: audio/3.wav$"):
        load_manifest(DataChoice(f"tau2020:{tmp_path}"))
    (tmp_path / TEST).write_text("\n".join([*lines, "../x.wav", lines[-1]]))
    with pytest.raises(InputError, match=r"more than once, keep one row of each: audio/11.wav \(1 more"):
        load_manifest(DataChoice(f"tau2020:{tmp_path}"))


def made25(root: Path) -> Path:
    """A tree of TAU 2022 with two seconds of each segment, and a 25 % split that has places 0 to 2 of 0 to 3."""
    made(root, edition="tau2022")
    for file in (META, TRAIN, TEST, EVALUATE):
        head, *lines = (root / file).read_text().splitlines()
        lines += [line.replace("-0-", "-1-") for line in lines]
        (root / file).write_text("\n".join([head, *lines]) + "\n")
    for path in read_metadata(root, "tau2022").paths:
        (root / path).touch()
    (root / "split_setup").mkdir()
    head, *train = (root / TRAIN).read_text().splitlines()
    chosen = [line for line in train if not line.split("-")[2].endswith("3")]
    (root / SPLIT25).write_text("\n".join([head, *chosen]) + "\n")
    return root


def test_the_25_percent_split_leaves_the_other_training_clips_out(tmp_path: Path) -> None:
    root = made25(tmp_path / "TAU-urban-acoustic-scenes-2022-mobile-development")
    whole, quarter = (load_manifest(DataChoice(f"{edition}:{tmp_path}")) for edition in ("tau2022", "tau2025"))
    assert quarter.source == root and quarter.digest != whole.digest

    def learning(manifest: Manifest) -> set[str]:
        return {clip.path for clip in manifest.clips if clip.split != "test"}

    assert len(learning(whole)) == 160 and len(learning(quarter)) == 120
    assert learning(quarter) == {path for path in learning(whole) if not path.split("-")[2].endswith("3")}
    tests = [{clip.path for clip in each.clips if clip.split == "test"} for each in (whole, quarter)]
    assert tests[0] == tests[1] and len(tests[0]) == 40
    everything = load_manifest(DataChoice(f"tau2025:{root}", part="all"))
    assert {clip.path for clip in everything.clips} == learning(quarter) | tests[0], "others may not be trained on"


OF_2 = "audio/bus-lyon-b32-7-0-a.wav"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            f"{OF_2}\tbus\n",
            "",
            r"lists 1 clip\(s\) of segments that it lists in part only, fetch .*7-1-a.wav$",
        ),
        (
            OF_2,
            "audio/bus-lyon-b39-7-0-a.wav",
            r"split25.csv lists 1 clip\(s\) that meta.csv does not have, drop",
        ),
        (
            OF_2,
            "audio/bus-lyon-b35-7-0-a.wav",
            r"lists 1 clip\(s\) that evaluation_setup/fold1_train.csv does not",
        ),
        (OF_2, OF_2 + "\tbus\n" + OF_2, r"split25.csv lists 1 clip\(s\) more than once"),
        ("filename", "file", r"split25.csv has no column filename: .*tab-separated"),
        ("\t", ",", r"split25.csv has no column filename"),
    ],
)
def test_a_wrong_25_percent_split_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    root = made25(tmp_path)
    text = (root / SPLIT25).read_text()
    assert old in text
    (root / SPLIT25).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=sentence) as caught:
        load_manifest(DataChoice(f"tau2025:{root}"))
    assert "\n" not in str(caught.value)


def test_a_cut_or_missing_25_percent_split_is_refused(tmp_path: Path) -> None:
    root = made25(tmp_path)
    content = (root / SPLIT25).read_bytes()
    (root / SPLIT25).write_bytes(content[:-20])
    with pytest.raises(InputError, match=r"split25.csv lists 1 clip\(s\) that meta.csv does not have"):
        load_manifest(DataChoice(f"tau2025:{root}"))
    (root / SPLIT25).write_bytes(b"\xff" + content)
    with pytest.raises(InputError, match=r"split25.csv is not UTF-8 text"):
        load_manifest(DataChoice(f"tau2025:{root}"))
    (root / SPLIT25).unlink()
    with pytest.raises(InputError, match=r"split_setup/split25.csv is missing: fetch the metadata again with"):
        load_manifest(DataChoice(f"tau2025:{root}"))
    with pytest.raises(InputError, match=r"names its clips like tau2020: write tau2020:"):
        load_manifest(DataChoice(f"tau2025:{made(tmp_path / 'other')}"))


def test_the_evaluation_set_of_2025_names_devices(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    devices = ("a", "s1", "unknown")
    for number in range(3):
        (tmp_path / "audio" / f"{number}.wav").touch()
    lines = [f"audio/{number}.wav\t{device}" for number, device in enumerate(devices)]
    (tmp_path / TEST).write_text("\n".join(["filename\tdevice_id", *lines]))
    manifest = load_manifest(DataChoice(f"tau2025:{tmp_path}"))
    assert [(clip.label, clip.split, clip.device) for clip in manifest.clips] == [(None, "test", d) for d in devices]
    assert {clip.device for clip in load_manifest(DataChoice(f"tau2022:{tmp_path}")).clips} == {"unknown"}
    (tmp_path / TEST).write_text("filename\naudio/0.wav\n")
    with pytest.raises(InputError, match=r"fold1_test.csv has no column device_id: its columns are filename"):
        load_manifest(DataChoice(f"tau2025:{tmp_path}"))


def test_long_lists_of_names_are_shortened() -> None:
    assert some("abc") == "a, b, c" and some("abcde") == "a, b, c and 2 more" and some([]) == ""
