"""Nine simulated devices: TAU's proportions, no microphone family in both training and test, correct audio."""

import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asc.audio.audio_file import decode
from asc.audio.sound import resampled
from asc.config.data_choice import DataChoice, Part
from asc.data.devices import DEVICES, TRAINING_DEVICES, UNSEEN_DEVICES, device_copies, device_list, read_devices
from asc.data.manifest import Clip, Manifest, load_manifest
from asc.data.splits import LEARNING_SPLITS
from asc.data.store import open_store
from asc.errors import InputError
from asc.results import Split

REAL = Path(__file__).parents[3] / "shared" / "data"
RATE_HZ = 16_000
real_data = pytest.mark.skipif(
    not ((REAL / "micirp" / "meta.csv").is_file() and (REAL / "esc10" / "meta.csv").is_file()),
    reason="ESC-10 or MicIRP is not available",
)


def response_of(device: str, *, rate_hz: int = RATE_HZ, seed: int = 0) -> NDArray[np.float64]:
    """Return an impulse response, (samples,) float64: a peak at sample 20 in decaying noise, different per device."""
    rng = np.random.default_rng([seed, DEVICES.index(device)])
    impulse = 0.1 * rng.standard_normal(rate_hz // 5) * np.exp(-np.arange(rate_hz // 5) / 40)
    impulse[20] = 0.9
    return np.asarray(impulse)


@pytest.fixture
def irs(tmp_path: Path) -> Path:
    """A folder of impulse responses named as in the device list. Device c's has another sample rate."""
    folder = tmp_path / "irs"
    (folder / "audio").mkdir(parents=True)
    for name, device in device_list().items():
        rate_hz = 24_000 if name == "c" else RATE_HZ
        soundfile.write(folder / device.file, response_of(name, rate_hz=rate_hz), rate_hz, subtype="PCM_24")
    return folder


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A CSV set without devices: two labels of 50 clips each, in groups of two and five folds."""
    folder = tmp_path / "set"
    folder.mkdir()
    lines = ["filename,label,group,fold"]
    for label in "xy":
        for number in range(50):
            sound = np.random.default_rng([ord(label), number]).standard_normal(2000 + 10 * number) * 0.01
            soundfile.write(folder / f"{label}{number}.wav", sound, RATE_HZ, subtype="FLOAT")
            lines.append(f"{label}{number}.wav,{label},{label}{number // 2},{number // 2 % 5 + 1}")
    (folder / "set.csv").write_text("\n".join(lines))
    return f"csv:{folder / 'set.csv'}"


def copies_of(
    sizes: dict[str, int], *, split: Split = "train", data_seed: int = 0
) -> tuple[Counter[str], dict[str, list[str]]]:
    """For `sizes[label]` clips of each label: number of copies per device, and clip paths per device except a."""
    clips = [(f"{label}{i}", label, split) for label, size in sizes.items() for i in range(size)]
    copies = device_copies(clips, data_seed=data_seed)
    paths = defaultdict(list)
    for number, device in copies:
        paths[device].append(clips[number][0])
    return Counter(device for _, device in copies), {name: paths[name] for name in TRAINING_DEVICES}


def test_seen_and_unseen_devices_share_no_maker_or_family() -> None:
    devices = device_list()
    assert tuple(devices) == DEVICES and len({device.file for device in devices.values()}) == 9
    unseen = [devices[name] for name in UNSEEN_DEVICES]
    heard = [devices[name] for name in DEVICES if name not in UNSEEN_DEVICES]
    assert not {device.family for device in unseen} & {device.family for device in heard}
    assert not {device.maker for device in unseen} & {device.maker for device in heard}
    assert all(device.family.startswith(f"{device.maker} ") for device in devices.values())
    in_names = [device.maker if device.maker != "Bang & Olufsen" else "Beomic" for device in devices.values()]
    assert all(maker in device.file for maker, device in zip(in_names, devices.values(), strict=True))


def test_tau_counts_are_reproduced() -> None:
    labels = {f"scene{i}": 1021 for i in range(9)} | {"scene9": 1026}
    count, paths = copies_of(labels)
    assert count == {"a": 10_215, "b": 750, "c": 750, "s1": 750, "s2": 750, "s3": 750}
    assert all(74 <= n <= 76 for p in paths.values() for n in Counter(path[:6] for path in p).values())


@pytest.mark.parametrize("sizes", [{"x": 100, "y": 100, "z": 100}, {"x": 200, "y": 60, "z": 7}, {"x": 30, "y": 31}])
@pytest.mark.parametrize("split", ["train", "valid", "calibration"])
def test_each_device_has_its_own_clips_and_its_share_of_every_label(sizes: dict[str, int], split: Split) -> None:
    total = sum(sizes.values())
    count, paths = copies_of(sizes, split=split)
    share = round(total * 750 / 10_215)
    assert count == {"a": total, **dict.fromkeys(TRAINING_DEVICES, share)}
    every = [path for of_device in paths.values() for path in of_device]
    assert len(set(every)) == len(every) == 5 * share
    for of_device in paths.values():
        labels = Counter(path[0] for path in of_device)
        assert all(abs(labels[label] - share * size / total) <= 1 for label, size in sizes.items())


def test_with_few_clips_devices_share_them_but_get_none_twice() -> None:
    for size in (1, 2, 4):
        count, paths = copies_of({"x": size})
        assert count == {"a": size, **dict.fromkeys(TRAINING_DEVICES, 1)}
        assert len({path for of_device in paths.values() for path in of_device}) == size


def test_the_draw_depends_on_the_data_seed_and_not_on_the_order() -> None:
    clips: list[tuple[str, str, Split]] = [(f"{i}", "xy"[i % 2], "train") for i in range(200)]
    drawn = {(clips[number][0], device) for number, device in device_copies(clips, data_seed=3)}
    back = {(clips[::-1][number][0], device) for number, device in device_copies(clips[::-1], data_seed=3)}
    other = {(clips[number][0], device) for number, device in device_copies(clips, data_seed=4)}
    assert drawn == back != other


@pytest.mark.parametrize(("fold", "data_seed"), [(1, 0), (4, 7)])
def test_devices_do_not_change_splits_and_groups(spec: str, irs: Path, fold: int, data_seed: int) -> None:
    choice = DataChoice(spec, fold=fold, data_seed=data_seed)
    plain = load_manifest(choice)
    check_protocol(plain, load_manifest(replace(choice, device_irs=str(irs))))


def check_protocol(plain: Manifest, manifest: Manifest) -> None:
    original = {clip.path: clip for clip in plain.clips}
    assert len({clip.path for clip in manifest.clips}) == len(manifest.clips)
    heard = defaultdict(list)
    for clip in manifest.clips:
        assert clip.copy_of is not None and clip.path == f"{clip.copy_of}@{clip.device}"
        source = original[clip.copy_of]
        assert (clip.label, clip.group, clip.split) == (source.label, source.group, source.split)
        heard[clip.copy_of].append(clip.device)
    assert list(heard) == [clip.path for clip in plain.clips]
    for path, devices in heard.items():
        if original[path].split == "test":
            assert devices == list(DEVICES)
        else:
            assert devices[0] == "a" and len(devices) <= 2 and not set(devices) & set(UNSEEN_DEVICES)
    for split in ("train", "valid", "calibration"):
        devices_of = Counter(clip.device for clip in manifest.clips if clip.split == split)
        share = max(1, round(devices_of["a"] * 750 / 10_215))
        assert all(devices_of[name] == share for name in TRAINING_DEVICES)


def test_the_digest_depends_on_the_content_of_the_responses(spec: str, irs: Path, tmp_path: Path) -> None:
    digest = load_manifest(DataChoice(spec, device_irs=str(irs))).digest
    assert digest == load_manifest(DataChoice(spec, device_irs=str(irs))).digest
    assert digest != load_manifest(DataChoice(spec)).digest
    moved = Path(shutil.move(irs, tmp_path / "moved"))
    assert load_manifest(DataChoice(spec, device_irs=str(moved))).digest == digest
    soundfile.write(moved / device_list()["s5"].file, response_of("s5", seed=1), RATE_HZ, subtype="PCM_24")
    assert load_manifest(DataChoice(spec, device_irs=str(moved))).digest != digest


def test_packed_clips_are_the_files_convolved(spec: str, irs: Path, tmp_path: Path) -> None:
    manifest = load_manifest(DataChoice(spec, device_irs=str(irs)))
    store = open_store(manifest, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache")
    assert len(store) == len(manifest.clips)
    levels = defaultdict(list)
    for number, clip in enumerate(manifest.clips):
        dry, _ = soundfile.read(Path(spec.removeprefix("csv:")).parent / (clip.copy_of or ""))
        wet = store.read(number)
        impulse = resampled(response_of("c", rate_hz=24_000).astype(np.float32), 24_000, RATE_HZ)
        peak = int(np.abs(impulse).argmax())
        if clip.device != "c":
            impulse, peak = response_of(clip.device).astype(np.float32), 20
        direct = np.convolve(dry, impulse)[peak : peak + len(dry)]
        gain = np.dot(wet, direct) / np.dot(direct, direct)
        assert np.abs(wet - gain * direct).max() < store.gain(number)
        levels[clip.device].append(gain)
    assert all(np.ptp(gains) < 1e-4 * np.mean(gains) for gains in levels.values()), "one gain per device"


def test_a_changed_response_makes_a_new_store_but_a_moved_folder_does_not(spec: str, irs: Path, tmp_path: Path) -> None:
    def folder(irs: Path) -> Path:
        manifest = load_manifest(DataChoice(spec, device_irs=str(irs)))
        return open_store(manifest, sample_rate_hz=8000, cache=tmp_path / "cache").folder

    first = folder(irs)
    moved = Path(shutil.move(irs, tmp_path / "moved"))
    assert folder(moved) == first
    soundfile.write(moved / device_list()["b"].file, response_of("b", seed=1), RATE_HZ)
    assert folder(moved) != first


def test_a_bad_clip_is_named_once_for_its_nine_copies(spec: str, irs: Path, tmp_path: Path) -> None:
    manifest = load_manifest(DataChoice(spec, device_irs=str(irs)))
    test_clip = next(clip for clip in manifest.clips if clip.split == "test")
    bad = Path(spec.removeprefix("csv:")).parent / (test_clip.copy_of or "")
    bad.write_bytes(b"")
    with pytest.raises(InputError, match="1 of 100 audio files cannot be used") as caught:
        open_store(manifest, sample_rate_hz=RATE_HZ, cache=tmp_path / "cache")
    assert str(caught.value).count(str(bad)) == 1


def test_a_folder_that_lacks_responses_is_refused(tmp_path: Path, spec: str, irs: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist or is not a folder: give the folder of the impulse"):
        load_manifest(DataChoice(spec, device_irs=str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match="irs/audio lacks 9 of the 9 impulse responses"):
        load_manifest(DataChoice(spec, device_irs=str(irs / "audio")))
    gone = [device_list()[name].file for name in ("s1", "s6")]
    for file in gone:
        (irs / file).unlink()
    with pytest.raises(InputError, match="lacks 2 of the 9") as caught:
        load_manifest(DataChoice(spec, device_irs=str(irs)))
    assert str(caught.value).endswith(f"{gone[0]} (s1), {gone[1]} (s6)") and "\n" not in str(caught.value)


def test_all_bad_responses_are_named_in_one_error(spec: str, irs: Path) -> None:
    files = {name: irs / device.file for name, device in device_list().items()}
    files["a"].write_bytes(files["a"].read_bytes()[:-900])
    files["b"].write_bytes(b"no audio")
    soundfile.write(files["s2"], np.zeros(4000), RATE_HZ)
    soundfile.write(files["s4"], np.array([1.0, np.inf] * 2000), RATE_HZ, subtype="FLOAT")
    with pytest.raises(InputError, match=r"^4 impulse response\(s\) cannot be used, replace them: ") as caught:
        load_manifest(DataChoice(spec, device_irs=str(irs)))
    reasons = {"a": "cut off", "b": "unreadable", "s2": "silent", "s4": "not finite"}
    assert all(f"{files[name]} ({reason}" in str(caught.value) for name, reason in reasons.items())


def test_a_set_with_devices_of_its_own_is_refused(tmp_path: Path, irs: Path) -> None:
    with pytest.raises(InputError, match=r"synthetic already has 9 devices \(a, b, c, s1, .*so leave them out"):
        load_manifest(DataChoice("synthetic", device_irs=str(irs)))
    for name, device in (("one", "phone"), ("two", "{i}")):
        lines = [f"{label}{i}.wav,{label},{device.format(i=i % 2)}" for label in "xy" for i in range(10)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["filename,label,device", *lines]))
    for line in lines:
        (tmp_path / line.split(",")[0]).touch()
    assert load_manifest(DataChoice(f"csv:{tmp_path / 'one.csv'}", device_irs=str(irs))).responses
    with pytest.raises(InputError, match=r"two.csv already has 2 devices \(0, 1\)"):
        load_manifest(DataChoice(f"csv:{tmp_path / 'two.csv'}", device_irs=str(irs)))


@real_data
@pytest.mark.parametrize("fold", range(1, 6))
def test_the_esc10_benchmark_follows_the_protocol(fold: int) -> None:
    choice = DataChoice(f"esc10:{REAL / 'esc10'}", fold=fold)
    manifest = load_manifest(replace(choice, device_irs=str(REAL / "micirp")))
    check_protocol(load_manifest(choice), manifest)
    assert Counter(clip.device for clip in manifest.clips if clip.split == "test") == dict.fromkeys(DEVICES, 80)
    labels = Counter((clip.device, clip.label) for clip in manifest.clips if clip.split == "train")
    assert all(1 <= labels[name, label] <= 2 for name in TRAINING_DEVICES for label in manifest.labels)


@real_data
def test_real_microphones_colour_real_sound_as_measured(tmp_path: Path) -> None:
    """Levels below 200 Hz and above 6 kHz are ordered by device (dB) as `devices.toml` describes the responses."""
    choice = DataChoice(f"esc10:{REAL / 'esc10'}", device_irs=str(REAL / "micirp"))
    manifest = load_manifest(choice)
    rain = next(clip.copy_of for clip in manifest.clips if clip.split == "test" and clip.label == "rain")
    chosen: tuple[Clip, ...] = tuple(clip for clip in manifest.clips if clip.copy_of == rain)
    few = replace(manifest, clips=(*chosen, next(clip for clip in manifest.clips if clip.label != "rain")))
    store = open_store(few, sample_rate_hz=44_100, cache=tmp_path)
    dry = decode(REAL / "esc10" / str(rain), 44_100)
    frequency_hz = np.fft.rfftfreq(len(dry), 1 / 44_100)
    low_db, high_db = {}, {}
    for number, clip in enumerate(chosen):
        assert store.samples(number) == len(dry)
        power = np.abs(np.fft.rfft(store.read(number))) ** 2
        low_db[clip.device] = 10 * np.log10(power[(frequency_hz > 80) & (frequency_hz < 160)].sum())
        high_db[clip.device] = 10 * np.log10(power[(frequency_hz > 6000) & (frequency_hz < 9000)].sum())
    assert low_db["s1"] > low_db["a"] > low_db["b"] > low_db["c"] > low_db["s3"]
    assert min(low_db["a"] - low_db[name] for name in ("s3", "s6")) > 15
    assert high_db["s4"] > high_db["a"] + 3 and high_db["s2"] < high_db["a"] - 15


@real_data
def test_every_listed_file_is_in_the_collection() -> None:
    lines = (REAL / "micirp" / "meta.csv").read_text().splitlines()
    assert {device.file for device in device_list().values()} <= {line.split(",")[0] for line in lines}
    assert [response.device for response in read_devices(REAL / "micirp")] == list(DEVICES)


def test_held_out_devices_are_validated_on_alone_and_never_trained_on(spec: str, irs: Path) -> None:
    plain = load_manifest(DataChoice(spec, device_irs=str(irs)))
    held = load_manifest(DataChoice(spec, device_irs=str(irs), holdout_devices="s2, s3"))
    devices = {split: Counter(c.device for c in held.clips if c.split == split) for split in LEARNING_SPLITS}
    originals = {split: {c.copy_of for c in plain.clips if c.split == split} for split in LEARNING_SPLITS}
    assert set(devices["train"]) == {"a", "b", "c", "s1"}
    for split in ("valid", "calibration"):
        assert devices[split] == dict.fromkeys(("s2", "s3"), len(originals[split]))
    assert [c for c in held.clips if c.split == "test"] == [c for c in plain.clips if c.split == "test"]
    assert held.digest != plain.digest


def test_devices_of_the_set_itself_can_be_held_out(tmp_path: Path) -> None:
    lines = ["filename,label,device,group,split"]
    for number in range(48):
        split = ("train", "valid", "calibration", "test")[number // 2 % 4]
        lines.append(f"{number}.wav,{'xy'[number % 2]},{'pq'[number // 8 % 2]},g{number},{split}")
        soundfile.write(tmp_path / f"{number}.wav", np.full(2000, 0.1), RATE_HZ)
    (tmp_path / "set.csv").write_text("\n".join(lines))
    held = load_manifest(DataChoice(f"csv:{tmp_path / 'set.csv'}", holdout_devices="q"))
    found = {(c.split, c.device) for c in held.clips}
    assert found == {("train", "p"), ("valid", "q"), ("calibration", "q"), ("test", "p"), ("test", "q")}


@pytest.mark.parametrize(
    ("holdout", "part", "sentence"),
    [
        (
            "s9",
            "development",
            "--holdout-devices s9: --device-irs has no such device in its training part; it has b, c",
        ),
        ("s4", "development", "--holdout-devices s4: --device-irs has no such device"),
        ("b,c,s1,s2,s3", "development", "names all devices of --device-irs: leave at least one for training"),
        ("s2", "all", "--split all trains on every clip: leave --holdout-devices out"),
    ],
)
def test_wrong_devices_are_refused(spec: str, irs: Path, holdout: str, part: Part, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_manifest(DataChoice(spec, device_irs=str(irs), holdout_devices=holdout, part=part))
