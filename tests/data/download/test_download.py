"""Downloads from a loopback server that breaks off, lies or sends wrong bytes, and what each leaves on disk."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from asc.data.download.download import ATTEMPTS, DownloadPlan, download, plan_download
from asc.data.download.packages import ClipList, Package, PackageSet, package_set, package_sets
from asc.errors import InputError

PART_BYTES = 300_000
FILES = {f"set.{number}.zip": f"set/audio/{number}.wav" for number in range(3)}


def zipped(name: str, seed: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, random.Random(seed).randbytes(PART_BYTES))
    return buffer.getvalue()


ARCHIVES = {file: zipped(name, seed) for seed, (file, name) in enumerate(FILES.items())}


@pytest.fixture
def packages(server: Any) -> PackageSet:
    server.files |= ARCHIVES
    return PackageSet(
        name="small",
        title="A small set",
        spec="tau2020",
        url=server.url,
        licence="none",
        root="set",
        unpacked_bytes=3 * PART_BYTES,
        packages=tuple(
            Package(file=file, size_bytes=len(content), md5=hashlib.md5(content).hexdigest())
            for file, content in ARCHIVES.items()
        ),
    )


def fetch(packages: PackageSet, folder: Path, *, keep_archives: bool = False) -> tuple[DownloadPlan, list[float]]:
    waited: list[float] = []
    chosen = plan_download(packages, folder, keep_archives=keep_archives)
    download(chosen, wait=waited.append)
    return chosen, waited


def check_whole(folder: Path) -> None:
    for seed, name in enumerate(FILES.values()):
        assert (folder / name).read_bytes() == random.Random(seed).randbytes(PART_BYTES)
    assert not list((folder / ".asc-download").glob("unpacking*")) and not list(folder.rglob("*.part"))


def test_archives_are_fetched_checked_unpacked_and_deleted(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    before = plan_download(packages, folder)
    assert before.fetch_bytes == sum(map(len, ARCHIVES.values())) and before.unpacked_bytes == 3 * PART_BYTES
    assert before.needed_bytes == before.unpacked_bytes + max(map(len, ARCHIVES.values()))
    assert not folder.exists(), "planning writes nothing"
    told: list[tuple[str, int, int]] = []
    download(before, progress=lambda what, done, total: told.append((what, done, total)))
    check_whole(folder)
    assert sorted(entry.name for entry in folder.iterdir()) == [".asc-download", "set"]
    size = len(ARCHIVES["set.0.zip"])
    assert ("fetching set.0.zip", size, size) in told and ("unpacking set.0.zip", PART_BYTES, PART_BYTES) in told


def test_running_twice_fetches_nothing(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    fetch(packages, tmp_path)
    server.asked.clear()
    again, _ = fetch(packages, tmp_path)
    assert again.parts == () and again.fetch_bytes == again.needed_bytes == 0 and server.asked == []
    assert again.describe() == f"all 3 parts are unpacked in {tmp_path / 'set'} already"


def test_for_a_missing_or_truncated_file_only_its_part_is_fetched(
    packages: PackageSet, server: Any, tmp_path: Path
) -> None:
    fetch(packages, tmp_path)
    for damage in (Path.unlink, lambda file: os.truncate(file, 10)):
        damage(tmp_path / "set" / "audio" / "1.wav")
        server.asked.clear()
        assert [part.file for part in fetch(packages, tmp_path)[0].parts] == ["set.1.zip"]
        assert server.asked == [("set.1.zip", 0)]
        check_whole(tmp_path)


def test_a_broken_transfer_fetches_only_the_rest(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.faults = [{"stop": 98_304}, {"stop": 49_152}]
    _, waited = fetch(packages, tmp_path)
    assert server.asked[:4] == [("set.0.zip", 0), ("set.0.zip", 98_304), ("set.0.zip", 147_456), ("set.1.zip", 0)]
    assert waited == [1.0, 1.0], "there is progress, so the wait does not grow"
    check_whole(tmp_path)


def test_the_next_run_resumes_where_this_one_stopped(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.faults = [{}, {"stop": 65_536}, *[{"stop": 0}] * ATTEMPTS]
    with pytest.raises(InputError, match="set.1.zip could not be fetched .*; run the same command again, it goes on"):
        fetch(packages, tmp_path)
    assert (tmp_path / FILES["set.0.zip"]).exists() and not (tmp_path / FILES["set.1.zip"]).exists()
    assert (tmp_path / "archives" / "set.1.zip.part").stat().st_size == 65_536
    server.asked.clear()
    server.faults.clear()
    chosen, waited = fetch(packages, tmp_path)
    assert chosen.fetch_bytes == len(ARCHIVES["set.1.zip"]) - 65_536 + len(ARCHIVES["set.2.zip"])
    assert server.asked == [("set.1.zip", 65_536), ("set.2.zip", 0)] and waited == []
    check_whole(tmp_path)


def test_failed_attempts_wait_longer_each_time_and_then_give_up(
    packages: PackageSet, server: Any, tmp_path: Path
) -> None:
    server.faults = [{"status": 503}] * 20
    waited: list[float] = []
    with pytest.raises(
        InputError, match="set.0.zip could not be fetched .*the server answered 503 Service Unavailable"
    ):
        download(plan_download(packages, tmp_path), wait=waited.append)
    assert waited == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0] and len(server.asked) == ATTEMPTS


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 502}, {"status": 429}, {"status": 408}, {"start": 1}])
def test_a_temporary_fault_is_retried(packages: PackageSet, server: Any, tmp_path: Path, fault: dict[str, int]) -> None:
    server.faults = [fault]
    assert fetch(packages, tmp_path)[1] == [1.0]
    check_whole(tmp_path)


def test_without_ranges_the_whole_file_is_fetched_again(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.faults = [{"stop": 98_304}, {"ranges": False}]
    fetch(packages, tmp_path)
    assert server.asked[:2] == [("set.0.zip", 0), ("set.0.zip", 98_304)]
    check_whole(tmp_path)


def test_a_wrong_range_is_not_appended(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.faults = [{"stop": 98_304}, {"start": 1}, {"status": 416}]
    fetch(packages, tmp_path)
    assert [start for name, start in server.asked if name == "set.0.zip"] == [0, 98_304, 0, 0]
    check_whole(tmp_path)


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ([{"status": 404}], "the server answered 404 Not Found"),
        ([{"status": 403}], "the server answered 403 Forbidden"),
        ([{"length": 10}], "the file on the server has 10 bytes, the published one 300,"),
        ([{"length": 10**12}], "the file on the server has 1,000,000,000,000 bytes, the published one"),
        ([{"stop": 16_384}, {"total": 400_000}], "the file on the server has 400,000 bytes, the published one"),
        ([{"length": None, "more": 4000}], "the server sent more than the published"),
    ],
)
def test_a_permanent_fault_is_reported_at_once(
    packages: PackageSet, server: Any, tmp_path: Path, faults: list[dict[str, int]], sentence: str
) -> None:
    server.faults = [{}, *faults]
    with pytest.raises(InputError, match=f"set.1.zip cannot be fetched from http.*: {sentence}.*; try later or give"):
        fetch(packages, tmp_path)
    assert len(server.asked) == 1 + len(faults) and (tmp_path / FILES["set.0.zip"]).exists()
    fetch(packages, tmp_path)
    check_whole(tmp_path)


def test_wrong_bytes_are_deleted_and_complete_parts_stay(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.faults = [{}, {"inverted": True}]
    with pytest.raises(InputError, match="set.1.zip from http.* does not have the published md5 [0-9a-f]{32}"):
        fetch(packages, tmp_path)
    assert list((tmp_path / "archives").iterdir()) == [] and (tmp_path / FILES["set.0.zip"]).exists()
    fetch(packages, tmp_path)
    check_whole(tmp_path)


def test_wrong_bytes_of_an_earlier_run_are_fetched_again_once(
    packages: PackageSet, server: Any, tmp_path: Path
) -> None:
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "set.0.zip.part").write_bytes(b"x" * 1000)
    fetch(packages, tmp_path)
    assert server.asked[:2] == [("set.0.zip", 1000), ("set.0.zip", 0)]
    check_whole(tmp_path)
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "set.0.zip.part").write_bytes(b"x" * 1000)
    server.asked.clear()
    server.faults = [{"inverted": True}, {"inverted": True}]
    with pytest.raises(InputError, match="does not have the published md5"):
        fetch(packages, tmp_path)
    assert len(server.asked) == 2


def test_archives_put_in_place_by_hand_are_used_and_kept_on_request(
    packages: PackageSet, server: Any, tmp_path: Path
) -> None:
    (tmp_path / "archives").mkdir()
    for file in ("set.0.zip", "set.1.zip"):
        (tmp_path / "archives" / file).write_bytes(ARCHIVES[file])
    (tmp_path / "archives" / "set.2.zip").write_bytes(b"no archive")
    (tmp_path / "archives" / "tmpleft").write_bytes(b"of a killed run")
    chosen, _ = fetch(packages, tmp_path, keep_archives=True)
    assert chosen.fetch_bytes == len(ARCHIVES["set.2.zip"]) and server.asked == [("set.2.zip", 0)]
    assert {file.name: file.read_bytes() for file in (tmp_path / "archives").iterdir()} == ARCHIVES
    check_whole(tmp_path)


def test_a_mirror_can_be_given(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    elsewhere = PackageSet(**{name: getattr(packages, name) for name in packages.__slots__} | {"url": "http://x/"})
    download(plan_download(elsewhere, tmp_path), url=server.url)
    check_whole(tmp_path)
    for address in ("ftp://x/files", "x", "http://", "http://[", "http://:0"):
        shutil.rmtree(tmp_path / "set", ignore_errors=True)
        with pytest.raises(InputError, match="is not a web address|set.0.zip (cannot|could not) be fetched"):
            download(plan_download(packages, tmp_path), url=address, wait=lambda seconds: None)


def test_a_failed_connection_is_one_error(packages: PackageSet, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"could not be fetched .*connection failed \(ConnectionRefusedError"
    ) as caught:
        download(plan_download(packages, tmp_path), url="http://127.0.0.1:1/files", wait=lambda seconds: None)
    assert "\n" not in str(caught.value) and str(caught.value).count("127.0.0.1") == 1


def test_a_disk_without_room_is_refused_beforehand(
    packages: PackageSet, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(InputError, match=r"small needs about 1,200,\d\d\d bytes free, but the disk .* has 1,000,000: "):
        fetch(packages, tmp_path / "new")
    assert server.asked == [] and not (tmp_path / "new").exists()


def test_a_full_disk_keeps_the_bytes_received(
    packages: PackageSet,
    server: Any,
    tmp_path: Path,
    file_size_limit: Callable[[int], AbstractContextManager[None]],
) -> None:
    with file_size_limit(200_000), pytest.raises(OSError, match="File too large"):
        fetch(packages, tmp_path)
    kept = (tmp_path / "archives" / "set.0.zip.part").stat().st_size
    assert 0 < kept <= 200_000
    server.asked.clear()
    fetch(packages, tmp_path)
    assert server.asked[0] == ("set.0.zip", kept)
    check_whole(tmp_path)


def test_a_folder_that_cannot_be_used_is_refused(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file.* cannot be used .*: fix that or choose another --to"):
        fetch(packages, tmp_path / "file")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "audio").touch()
    with pytest.raises(InputError, match="audio.* cannot be used .*: fix that or choose another --to"):
        fetch(packages, tmp_path)


def test_a_malformed_note_is_ignored(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    fetch(packages, tmp_path)
    for text in ("", "[]", "{}", '{"md5": 1, "files": []}', json.dumps({"md5": packages.packages[0].md5, "files": 1})):
        (tmp_path / ".asc-download" / "set.0.zip.json").write_text(text)
        assert [part.file for part in plan_download(packages, tmp_path).parts] == ["set.0.zip"]


KILLED = """
import os, signal, sys
from pathlib import Path
import asc.data.download.download as downloading
from asc.data.download.packages import PackageSet, Package
folder, url, where, *parts = sys.argv[1:]
packages = PackageSet(name="small", title="", spec="tau2020", url=url, licence="", root="set", unpacked_bytes=1,
    packages=tuple(Package(file=f, size_bytes=int(s), md5=m) for f, s, m in (part.split(",") for part in parts)))

def progress(what, done, total):
    if where == what and done:
        os.kill(os.getpid(), signal.SIGKILL)

if where == "between":
    downloading.unpack = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
downloading.download(downloading.plan_download(packages, Path(folder)), progress=progress)
"""


@pytest.mark.parametrize(
    ("where", "asked_again"),
    [
        ("between", []),
        ("unpacking set.0.zip", []),
        ("fetching set.0.zip", ["set.0.zip"]),
        ("unpacking set.1.zip", []),
    ],
)
def test_a_download_killed_anywhere_is_completed_by_the_next(
    packages: PackageSet, server: Any, tmp_path: Path, where: str, asked_again: list[str]
) -> None:
    parts = [f"{part.file},{part.size_bytes},{part.md5}" for part in packages.packages]
    command = [sys.executable, "-c", KILLED, str(tmp_path), server.url, where, *parts]
    root = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    server.asked.clear()
    killed = "set.1.zip" if "1" in where else "set.0.zip"
    assert killed in [part.file for part in plan_download(packages, tmp_path).parts]
    fetch(packages, tmp_path)
    assert [name for name, _ in server.asked if name <= killed] == asked_again
    check_whole(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".asc-download", "set"]


def test_a_second_download_into_one_folder_is_refused(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    chosen = plan_download(packages, tmp_path)

    def second(what: str, done: int, total: int) -> None:
        with pytest.raises(InputError, match="another download into .* is running"):
            download(chosen)

    download(chosen, progress=second)
    check_whole(tmp_path)


def test_an_archive_that_escapes_is_refused(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    evil = zipped("../evil.wav", 0)
    server.files["set.0.zip"] = evil
    first = Package(file="set.0.zip", size_bytes=len(evil), md5=hashlib.md5(evil).hexdigest())
    fields = {name: getattr(packages, name) for name in packages.__slots__}
    with pytest.raises(InputError, match=r"set.0.zip has the member '../evil.wav', which would leave the folder"):
        fetch(PackageSet(**fields | {"packages": (first,)}), tmp_path / "folder")
    assert not (tmp_path / "evil.wav").exists() and not (tmp_path / "folder" / "set").exists()


def test_a_list_is_fetched_beside_the_parts_and_then_kept(packages: PackageSet, server: Any, tmp_path: Path) -> None:
    server.files["list.csv"] = b"filename\nset/audio/0.wav\n"
    fields = {name: getattr(packages, name) for name in packages.__slots__}
    chosen = PackageSet(**fields | {"lists": (ClipList(file="lists/list.csv", url=server.url),)})
    first, _ = fetch(chosen, tmp_path)
    assert first.describe().splitlines()[0].endswith("bytes unpacked, and lists/list.csv to fetch")
    check_whole(tmp_path)
    assert (tmp_path / "set" / "lists" / "list.csv").read_bytes() == server.files["list.csv"]
    asked = len(server.asked)
    second, _ = fetch(chosen, tmp_path)
    assert second.lists == () and len(server.asked) == asked
    (tmp_path / "set" / "lists" / "list.csv").unlink()
    third, _ = fetch(chosen, tmp_path)
    assert third.describe().endswith("already, and lists/list.csv to fetch")
    assert third.as_json()["lists"] == ["lists/list.csv"] and len(server.asked) == asked + 1


def test_the_published_sets_have_the_published_sizes() -> None:
    sets = {each.name: each for each in package_sets() if each.record is None and not each.lists}
    sizes = {name: (len(each.packages), each.size_bytes) for name, each in sets.items()}
    assert sizes == {
        "tau2020": (18, 27_364_817_167),
        "tau2022": (18, 27_503_592_469),
        "tau2020-eval": (10, 13_139_235_954),
        "tau2021-eval": (8, 8_769_881_565),
        "tau2022-eval": (10, 13_249_195_806),
        "tau2023-eval": (10, 13_249_195_808),
    }
    for each in sets.values():
        assert all(part.file.startswith(f"{each.root}.") and len(part.md5) == 32 for part in each.packages)
        assert len({part.md5 for part in each.packages}) == len(each.packages)
        assert each.unpacked_bytes > each.size_bytes and each.url.startswith("https://zenodo.org/")
    meta = next(part for part in sets["tau2020"].packages if ".meta." in part.file)
    assert (meta.size_bytes, meta.md5) == (214_159, "6eae9db553ce48e4ea246e34e50a3cf5")
    with pytest.raises(InputError, match="there is no data set tau2019 to download: choose one of tau2020, tau2022"):
        package_set("tau2019")
