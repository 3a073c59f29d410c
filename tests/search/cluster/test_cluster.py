"""What is checked before Ray starts here; tests/launch/test_search_without_ray.py has the rest, with real processes."""

import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from patience import PATIENCE_S

from asc.errors import InputError
from asc.search.cluster import cluster
from asc.search.cluster.cluster import check_folder
from asc.search.settings import SearchSettings

Usage = namedtuple("Usage", "total used free")


def test_a_folder_that_is_there_or_can_be_made_will_do(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "to" / "be" / "made")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is not a writable folder; RAY_TMPDIR names another"):
        check_folder(tmp_path / "file" / "ray")


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12 - 49_999_999, 49_999_999))
    with pytest.raises(InputError, match=r"has only 50 MB free, and it needs 50 MB: make room there; RAY_TMPDIR"):
        check_folder(tmp_path / "ray")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**12, 10**12 - 50_000_000, 50_000_000))
    check_folder(tmp_path / "ray")


@pytest.fixture
def child() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts children of this process that have one name and wait."""
    children: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        children.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for process in children:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("left", [0, 2])
def test_all_that_a_failed_start_leaves_is_ended_and_no_other_child(
    child: Callable[[], subprocess.Popen[str]], settings: SearchSettings, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    ours, ends, leftovers = child(), child(), list[subprocess.Popen[str]]()

    def init(**options: object) -> None:
        ends.kill()
        ends.wait()
        leftovers.extend(child() for _ in range(left))
        raise RuntimeError("the node timed out")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(InputError, match=r"in 2 attempts \(the node timed out\)"):
        cluster._start(settings, lambda sentence: None)
    ours.communicate("\n", timeout=PATIENCE_S)
    assert ours.returncode == 0, "it was not killed"
    assert [process.wait(PATIENCE_S) for process in leftovers] == 2 * left * [-signal.SIGKILL]
