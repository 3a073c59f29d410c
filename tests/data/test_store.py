"""The packed store: accurate, packed once, complete after any interruption, and clear about bad files."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from patience import PATIENCE_S

from asc.audio.level import quantise
from asc.audio.level_notes import is_quiet
from asc.config.data_choice import DataChoice
from asc.data.manifest import Clip, Manifest
from asc.data.store import Store, open_store
from asc.data.synthetic.synthetic import SAMPLE_RATE_HZ, Synthetic
from asc.errors import InputError

RATE_HZ = 16_000


def sound(number: int, *, seconds: float = 0.3, level: float = 0.003) -> NDArray[np.float32]:
    noise = np.random.default_rng(number).standard_normal(round(seconds * RATE_HZ)) * level
    return noise.astype(np.float32)


def make(folder: Path, clips: int = 6) -> Manifest:
    """Write wav files of different lengths and return their manifest."""
    names = [f"{number}.wav" for number in range(clips)]
    for number, name in enumerate(names):
        soundfile.write(folder / name, sound(number, seconds=0.2 + 0.05 * number), RATE_HZ, subtype="FLOAT")
    return manifest_of(folder, names)


def manifest_of(source: Path | Synthetic, paths: list[str]) -> Manifest:
    clips = tuple(Clip(path=p, label="xy"[i % 2], device="a", group=p, split="train") for i, p in enumerate(paths))
    return Manifest(choice=DataChoice("set"), labels=("x", "y"), clips=clips, source=source)


def open_(manifest: Manifest, cache: Path, progress: Callable[[int, int], None] | None = None) -> Store:
    return open_store(manifest, sample_rate_hz=RATE_HZ, cache=cache, progress=progress)


def state(cache: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(cache).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.parametrize("level", [1.0, 3e-3, 1e-5, 1e-9])
def test_the_error_is_at_most_half_a_step_of_the_clips_gain(data: Path, cache: Path, level: float) -> None:
    soundfile.write(data / "0.wav", sound(0, level=level), RATE_HZ, subtype="FLOAT")
    store = open_(manifest_of(data, ["0.wav"] * 2), cache)
    error = np.abs(store.read(0) - sound(0, level=level))
    assert error.max() <= store.gain(0) * 0.51
    assert store.gain(0) == pytest.approx(np.abs(sound(0, level=level)).max() / 32_767)


def test_clips_are_read_whole_and_in_part(data: Path, cache: Path) -> None:
    manifest = make(data)
    store = open_(manifest, cache)
    assert len(store) == 6
    for number in range(6):
        expected = sound(number, seconds=0.2 + 0.05 * number)
        assert store.samples(number) == len(expected)
        assert np.abs(store.read(number) - expected).max() < store.gain(number)
        part = store.read(number, 100, 50)
        assert part.dtype == np.float32 and np.array_equal(part, store.read(number)[100:150])
    for start, count in ((-1, 5), (0, store.samples(2) + 1), (store.samples(2) + 1, None)):
        with pytest.raises(ValueError, match="clip 2 has"):
            store.read(2, start, count)


def test_silence_and_full_scale_are_quantised() -> None:
    silent = quantise(np.zeros(10, np.float32))
    assert silent.gain == 1.0 and not silent.integers.any()
    loud = quantise(np.array([3.0, -3.0, 0.0], np.float32))
    assert loud.integers.tolist() == [32_767, -32_767, 0]
    part = quantise(np.array([0.5, -0.25], np.float32), peak=1.0)
    assert part.gain == pytest.approx(1 / 32_767) and part.samples == pytest.approx([0.5, -0.25], abs=2e-5)
    assert part.samples.dtype == np.float32


def test_the_files_have_the_documented_format(data: Path, cache: Path) -> None:
    store = open_(make(data), cache)
    tree = json.loads((store.folder / "index.json").read_text())
    raw = np.frombuffer((store.folder / "audio.i16").read_bytes(), "<i2")
    assert len(raw) == sum(tree["samples"])
    start, count = tree["offsets"][4], tree["samples"][4]
    assert np.allclose(raw[start : start + count] * tree["gains"][4], store.read(4), rtol=1e-6)


def test_packing_reports_progress_for_every_clip(data: Path, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_(make(data), cache, lambda done, total: seen.append((done, total)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_an_unchanged_set_is_not_packed_again(data: Path, cache: Path) -> None:
    manifest = make(data)
    open_(manifest, cache)
    before = state(cache)
    other_splits = Manifest(
        choice=DataChoice("other"),
        labels=manifest.labels,
        clips=tuple(Clip(path=c.path, label=c.label, device="b", group=c.group, split="test") for c in manifest.clips),
        source=data,
    )
    for again in (manifest, other_splits):
        open_(again, cache, lambda done, total: pytest.fail("packed again"))
    assert state(cache) == before


def test_a_changed_source_or_rate_is_packed_again(data: Path, cache: Path) -> None:
    manifest = make(data)
    first = open_(manifest, cache)
    soundfile.write(data / "3.wav", sound(99), RATE_HZ, subtype="FLOAT")
    second = open_(manifest, cache)
    assert second.folder != first.folder
    assert np.abs(second.read(3) - sound(99)).max() < second.gain(3)
    os.utime(data / "3.wav", ns=(1, 1))
    assert open_(manifest, cache).folder not in (first.folder, second.folder)
    assert open_store(manifest, sample_rate_hz=8000, cache=cache).samples(3) == second.samples(3) // 2


@pytest.mark.parametrize("damage", ["shorter", "no index", "torn index", "no audio"])
def test_a_damaged_store_is_packed_again(data: Path, cache: Path, damage: str) -> None:
    manifest = make(data)
    store = open_(manifest, cache)
    whole = store.read(5)
    match damage:
        case "shorter":
            os.truncate(store.folder / "audio.i16", 1000)
        case "no index":
            (store.folder / "index.json").unlink()
        case "torn index":
            os.truncate(store.folder / "index.json", 40)
        case "no audio":
            (store.folder / "audio.i16").unlink()
    assert np.array_equal(open_(manifest, cache).read(5), whole)
    assert [path.name for path in cache.iterdir()] == [store.folder.name]


def test_all_bad_files_are_named_in_one_error(data: Path, cache: Path) -> None:
    make(data, 7)
    (data / "0.wav").write_bytes(b"")
    (data / "1.wav").write_bytes(b"no audio")
    (data / "2.wav").write_bytes((data / "2.wav").read_bytes()[:-400])
    soundfile.write(data / "3.wav", np.array([np.nan] * RATE_HZ), RATE_HZ, subtype="FLOAT")
    soundfile.write(data / "4.wav", sound(4, seconds=0.05), RATE_HZ)
    soundfile.write(data / "5.wav", np.zeros(0), RATE_HZ)
    with pytest.raises(InputError) as caught:
        open_(manifest_of(data, [f"{number}.wav" for number in range(7)]), cache)
    message = str(caught.value)
    assert message.startswith("6 of 7 audio files cannot be used")
    reasons = ("empty file", "unreadable: ", "cut off: ", "not finite: ", "too short: ", "empty: no samples")
    places = [message.index(f"{number}.wav ({reason}") for number, reason in enumerate(reasons)]
    assert places == sorted(places) and "6.wav" not in message and "\n" not in message
    assert list(cache.iterdir()) == []


def test_every_bad_file_is_listed(data: Path, cache: Path) -> None:
    names = [f"{number}.wav" for number in range(23)]
    for name in names:
        (data / name).touch()
    with pytest.raises(InputError, match="23 of 23 audio files") as caught:
        open_(manifest_of(data, names), cache)
    assert str(caught.value).count("(empty file)") == 23


def test_a_store_that_does_not_fit_on_the_disk_is_refused_before_packing(data: Path, cache: Path) -> None:
    """One sparse file under many names has more sound than the disk can hold."""
    free = os.statvfs(data).f_bavail * os.statvfs(data).f_frsize
    soundfile.write(data / "0.wav", sound(0), RATE_HZ, subtype="PCM_U8", format="W64")
    whole = bytearray((data / "0.wav").read_bytes())
    place = whole.index(b"data") + 16
    size = 2**27
    whole[16:24] = (len(whole) + size).to_bytes(8, "little")
    whole[place : place + 8] = (size + 24).to_bytes(8, "little")
    (data / "0.wav").write_bytes(whole)
    try:
        os.truncate(data / "0.wav", len(whole) + size)
    except OSError:
        pytest.skip("the file system holds no sparse file of this size")
    names = [f"link-{number}.wav" for number in range(free // (2 * size) + 2)]
    for name in names:
        os.link(data / "0.wav", data / name)
    with pytest.raises(InputError, match=r"needs [\d,]+ bytes, but .*cache has [\d,]+ bytes free"):
        open_(manifest_of(data, names), cache)
    assert list(cache.iterdir()) == []


def test_running_out_of_room_while_packing_is_one_error(data: Path, cache: Path) -> None:
    manifest = make(data)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(InputError, match=r"cannot be written to \(there is no room left\)"):
            open_(manifest, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(cache.iterdir()) == []
    assert len(open_(manifest, cache)) == 6


def test_a_cache_that_is_not_a_folder_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(InputError, match="cache cannot be written to"):
        open_(make(data), tmp_path / "cache")


def test_ctrl_c_leaves_nothing(data: Path, cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    # A shell's background job starts with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            open_(make(data), cache, interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(cache.iterdir()) == []


PACK_AND_WAIT = """
import sys
from pathlib import Path
from asc.config.data_choice import DataChoice
from asc.data.manifest import load_manifest
from asc.data.store import open_store
def progress(done, total):
    if done == 3:
        print("half way", flush=True)
        sys.stdin.readline()
manifest = load_manifest(DataChoice(f"csv:{sys.argv[1]}/set.csv"))
store = open_store(manifest, sample_rate_hz=16000, cache=Path(sys.argv[2]), progress=progress)
print(store.folder.name, store.read(3).tobytes().hex())
"""


@contextmanager
def packer(data: Path, cache: Path) -> Iterator[subprocess.Popen[str]]:
    """Start another process that packs three of twelve clips and then waits for a line."""
    make(data, 12)
    rows = [f"{number}.wav,{'xy'[number % 2]}" for number in range(12)]
    (data / "set.csv").write_text("\n".join(["filename,label", *rows]))
    command = [sys.executable, "-c", PACK_AND_WAIT, str(data), str(cache)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "half way\n"
            (workspace,) = cache.glob(".packing-*")
            os.utime(workspace, (0, 0))  # as if it had started long ago
            yield process
        finally:
            process.kill()


def test_a_killed_packer_does_not_block_the_next(data: Path, cache: Path) -> None:
    with packer(data, cache) as process:
        process.kill()
        process.wait()
    assert len(list(cache.iterdir())) == 2, "its lock and its half-written store"
    store = open_(manifest_of(data, [f"{number}.wav" for number in range(12)]), cache)
    assert np.abs(store.read(3) - sound(3, seconds=0.35)).max() < store.gain(3)
    assert list(cache.iterdir()) == [store.folder]


def test_a_second_process_waits_while_the_first_packs(data: Path, cache: Path) -> None:
    told: list[int] = []
    manifest = manifest_of(data, [f"{number}.wav" for number in range(12)])
    with packer(data, cache) as process, ThreadPoolExecutor(1) as second:
        waiting = second.submit(open_, manifest, cache, lambda done, total: told.append(done))
        while not _waits_for_a_lock():
            assert not waiting.done()
        answer, _ = process.communicate("go on\n", timeout=PATIENCE_S)
        ours = waiting.result(timeout=PATIENCE_S)
    assert process.returncode == 0 and told == []
    assert answer.split() == [ours.folder.name, ours.read(3).tobytes().hex()]
    assert list(cache.iterdir()) == [ours.folder]


def _waits_for_a_lock() -> bool:
    """Whether a thread of this process is waiting in flock, according to Linux."""
    return any(f" {os.getpid()} " in line for line in Path("/proc/locks").read_text().splitlines() if "->" in line)


def test_synthetic_clips_are_packed_like_files(cache: Path) -> None:
    small = Synthetic(clip_s=0.4, train_locations=1, test_locations=0)
    paths = [row.path for row in small.rows()][:4]
    store = open_store(manifest_of(small, paths), sample_rate_hz=SAMPLE_RATE_HZ, cache=cache)
    assert np.abs(store.read(2) - small.render(paths[2])).max() < store.gain(2)
    half = open_store(manifest_of(small, paths), sample_rate_hz=SAMPLE_RATE_HZ // 2, cache=cache)
    assert half.samples(2) == store.samples(2) // 2
    other = manifest_of(Synthetic(seed=1, clip_s=0.4), paths)
    assert open_store(other, sample_rate_hz=SAMPLE_RATE_HZ, cache=cache).folder != store.folder


def test_faint_synthetic_clips_are_no_reason_to_warn(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = Synthetic(clip_s=0.4, train_locations=1, test_locations=0)
    faint = [row.path for row in small.rows() if is_quiet(float(np.abs(small.render(row.path)).max()))]
    assert faint
    open_store(manifest_of(small, faint), sample_rate_hz=SAMPLE_RATE_HZ, cache=cache)
    assert not caplog.records
