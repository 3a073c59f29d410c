"""C files: compiled once, by whatever compiler there is, and none where they cannot be compiled."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asc.audio import compiled as compiled_files
from asc.audio.compiled import Library, library

SOURCE = Path(compiled_files.__file__).with_name("mel.c")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and nothing remembered before and after."""
    monkeypatch.setenv("ASC_CACHE", str(tmp_path))
    library.cache_clear()
    yield tmp_path
    library.cache_clear()


@pytest.fixture
def compiled() -> Library:
    found = library(SOURCE)
    if found is None:
        pytest.skip("no C compiler")
    return found


def test_they_are_compiled_once(fresh: Path, compiled: Library) -> None:
    (file,) = (fresh / "compiled").iterdir()
    written = file.stat().st_mtime_ns
    library.cache_clear()
    assert library(SOURCE) is not None
    assert [one.stat().st_mtime_ns for one in (fresh / "compiled").iterdir()] == [written]


def test_an_older_compiler_that_does_not_know_the_first_name_of_a_processor_is_given_the_second(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    known = compiled_files._PROCESSORS.get(capability)
    if known is None or library(SOURCE) is None:
        pytest.skip("no C compiler, or no x86 processor with AVX2")
    library.cache_clear()
    monkeypatch.setattr(compiled_files, "_PROCESSORS", {capability: ("-march=a-processor-of-tomorrow", known[1])})
    assert library(SOURCE) is not None
    library.cache_clear()
    monkeypatch.setattr(compiled_files, "_PROCESSORS", {capability: ("-march=a-processor-of-tomorrow",)})
    assert library(SOURCE) is None, "compiled for any x86 processor, it would be slower than torch"


def test_a_file_that_a_crash_cut_off_is_compiled_again(fresh: Path, compiled: Library) -> None:
    (file,) = (fresh / "compiled").iterdir()
    whole = file.stat().st_size
    cut = fresh / "cut"  # a file of its own: this process has the other one open, and reads it once more as it ends
    cut.write_bytes(file.read_bytes()[:100])
    cut.replace(file)
    library.cache_clear()
    assert library(SOURCE) is not None
    assert [one.stat().st_size for one in (fresh / "compiled").iterdir()] == [whole]


def test_what_was_not_used_for_a_month_is_removed_when_a_file_is_made(fresh: Path, compiled: Library) -> None:
    cache, month_s = fresh / "compiled", 31 * 24 * 3600
    (kept,) = cache.iterdir()
    library.cache_clear()
    now, built = time.time(), kept.stat().st_mtime - 2 * month_s
    os.utime(kept, (built, built))
    assert library(SOURCE) is not None and kept.stat().st_mtime == pytest.approx(built), "it is marked as used now"
    for name, age_s in {"fused-0-1.so": month_s, "mel-0-1.so": month_s, "tmpold": month_s, "fused-1-1.so": 60}.items():
        path = cache / name
        path.mkdir() if name == "tmpold" else path.write_bytes(b"1")
        os.utime(path, (now - age_s, now - age_s))
    other = fresh / "other.c"
    other.write_text("int one(void) { return 1; }")
    found = library(other)
    assert found is not None and found.call("one") == 1
    assert kept.name in (names := {path.name for path in cache.iterdir()}) and "fused-1-1.so" in names
    assert len(names) == 3, "and the new one"


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_is_not_used(fresh: Path, mode: int) -> None:
    (fresh / "compiled").mkdir()
    (fresh / "compiled").chmod(mode)
    assert library(SOURCE) is None


def test_they_are_used_whatever_rights_new_files_get(compiled: Library, fresh: Path) -> None:
    before = os.umask(0o002)
    try:
        assert library(SOURCE) is not None
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o077 for path in (fresh / "compiled", *(fresh / "compiled").iterdir())] == [0, 0]


def test_there_are_none_without_a_home_for_them(
    fresh: Path, compiled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ASC_CACHE")
    monkeypatch.setattr(compiled_files.Path, "home", homeless)
    library.cache_clear()
    assert library(SOURCE) is None


def test_there_are_none_without_a_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_files.shutil, "which", lambda name: None)
    assert library(SOURCE) is None


def test_there_are_none_if_compiling_fails(fresh: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("this is not C")
    assert library(wrong) is None
