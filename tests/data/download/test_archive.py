"""Unpacking refuses a zip that tries to escape, overwrite or fill the disk, before anything is written."""

import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from asc.data.download.archive import unpack
from asc.errors import InputError


def member(name: str, *, mode: int = 0, flag_bits: int = 0, system: int = 3) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.filename = name  # unchanged, since the constructor cleans it
    info.external_attr = mode << 16
    info.flag_bits = flag_bits
    info.create_system = system
    return info


def write(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "to").mkdir(parents=True)
    return tmp_path / "deep" / "to"


def everything(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_good_archive_is_unpacked_and_nothing_else_is_left(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "a.zip", ("set/", b""), ("set/meta.csv", b"x" * 3000), ("set/audio/1.wav", b"y"))
    (folder / "set").mkdir()
    (folder / "set" / "meta.csv").write_bytes(b"old")
    told: list[tuple[int, int]] = []
    sizes = unpack(archive, folder, workspace=folder / "work", progress=lambda done, total: told.append((done, total)))
    assert sizes == {"set/meta.csv": 3000, "set/audio/1.wav": 1} and told[-1] == (3001, 3001)
    assert everything(folder) == ["set", "set/audio", "set/audio/1.wav", "set/meta.csv"]
    assert (folder / "set" / "meta.csv").read_bytes() == b"x" * 3000


LINK, DEVICE, REGULAR = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFREG | 0o644


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (member("../out.txt"), "which would leave the folder"),
        (member("set/../../out.txt"), "which would leave the folder"),
        (member("set/.."), "which would leave the folder"),
        (member("/etc/out.txt"), "which would leave the folder"),
        (member("//host/share/out.txt"), "which would leave the folder"),
        (member("C:/out.txt"), "which would leave the folder"),
        (member("c:out.txt"), "which would leave the folder"),
        (member("set/D:out.txt"), "which would leave the folder"),
        (member("..\\out.txt", system=0), "which would leave the folder"),
        (member("\\\\host\\out.txt"), "which would leave the folder"),
        (member("set/link", mode=LINK), "which is a link or a device"),
        (member("set/device", mode=DEVICE), "which is a link or a device"),
        (member("set//x"), "which is not a usable file name"),
        (member("./x"), "which is not a usable file name"),
        (member("set/a\nb"), "which is not a usable file name"),
        (member("set/" + "n" * 300), "which is not a usable file name"),
    ],
)
def test_a_member_that_is_not_a_plain_file_in_the_folder_is_refused(
    tmp_path: Path, folder: Path, bad: zipfile.ZipInfo, reason: str
) -> None:
    archive = write(tmp_path / "a.zip", (member("set/good.txt", mode=REGULAR), b"good"), (bad, b"/etc/passwd"))
    before = everything(tmp_path)
    with pytest.raises(InputError, match=f"a.zip has the member .*, {reason}: nothing was unpacked"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(tmp_path) == before


def test_a_name_with_a_nul_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "a.zip", ("set/good.txt#../x", b"good"))
    archive.write_bytes(archive.read_bytes().replace(b"#", b"\0"))
    with pytest.raises(InputError, match="a.zip has the member .*which is not a usable file name"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("set/a", "set/a"), ("set/a", "SET/A"), ("set/a", "set/a/b"), ("set/a/b/c", "set/a")]
)
def test_members_that_would_overwrite_each_other_are_refused(
    tmp_path: Path, folder: Path, names: tuple[str, ...]
) -> None:
    archive = write(tmp_path / "a.zip", *((name, b"x") for name in names))
    with pytest.raises(InputError, match="would overwrite each other"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == []


def test_an_encrypted_member_is_refused(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "a.zip", ("set/a", b"secret"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match="which is encrypted"):
        unpack(archive, folder, workspace=folder / "work")


def lying(archive: Path, size_bytes: int) -> None:
    """Make the central directory declare a false size for the first member, like a zip bomb."""
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, size_bytes)
    archive.write_bytes(content)


@pytest.mark.parametrize("declared", [10, 200_000])
def test_a_false_size_is_refused_and_no_more_than_it_is_written(tmp_path: Path, folder: Path, declared: int) -> None:
    archive = write(tmp_path / "a.zip", ("set/bomb", b"0" * 100_000))
    lying(archive, declared)
    told: list[int] = []
    with pytest.raises(InputError, match="a.zip is not a whole zip archive .*: delete it and fetch it again"):
        unpack(archive, folder, workspace=folder / "work", progress=lambda done, total: told.append(done))
    assert everything(folder) == [] and max(told, default=0) <= declared


def test_an_archive_too_large_for_the_disk_is_refused_beforehand(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write(tmp_path / "a.zip", ("set/large", b"0" * 5_000_000))
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=4_000_000))
    with pytest.raises(InputError, match=r"takes 5,000,000 bytes unpacked, but .* has 4,000,000 bytes free"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == []


def test_members_that_share_their_data_are_refused(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "a.zip", ("set/a", b"0" * 1_000_000))
    content = bytearray(archive.read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 20, len(content) + 1)
    archive.write_bytes(content)
    with pytest.raises(InputError, match="share their data"):
        unpack(archive, folder, workspace=folder / "work")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tmp_path: Path, folder: Path, keep: float) -> None:
    archive = write(tmp_path / "a.zip", *((f"set/{i}", bytes([i]) * 1000) for i in range(20)))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(InputError, match="a.zip is not a whole zip archive"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == []


def test_damaged_data_leaves_the_old_files(tmp_path: Path, folder: Path) -> None:
    archive = write(tmp_path / "a.zip", ("set/a", bytes(range(256)) * 40), ("set/b", bytes(range(256)) * 40))
    (folder / "set").mkdir()
    (folder / "set" / "a").write_bytes(b"old")
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x03\x04") + 60] ^= 0xFF  # in the data of the second member
    archive.write_bytes(content)
    with pytest.raises(InputError, match="a.zip is not a whole zip archive"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == ["set", "set/a"] and (folder / "set" / "a").read_bytes() == b"old"


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, folder: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    archive = write(tmp_path / "a.zip", ("set/small", b"1"), ("set/large", b"0" * 100_000))
    with file_size_limit(50_000), pytest.raises(OSError, match="File too large"):
        unpack(archive, folder, workspace=folder / "work")
    assert everything(folder) == []


def test_leftovers_of_a_killed_unpacking_are_removed(tmp_path: Path, folder: Path) -> None:
    (folder / "work" / "set").mkdir(parents=True)
    (folder / "work" / "set" / "half").write_bytes(b"half")
    unpack(write(tmp_path / "a.zip", ("set/a", b"x")), folder, workspace=folder / "work")
    assert everything(folder) == ["set", "set/a"]
