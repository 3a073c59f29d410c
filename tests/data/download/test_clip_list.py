"""Lists of clips from a loopback server: fetched whole, or refused without a trace."""

from pathlib import Path
from typing import Any

import pytest

import asc.data.download.clip_list
from asc.data.download.clip_list import fetch_list
from asc.data.download.packages import ClipList, package_set
from asc.errors import InputError

LIST = b"filename\tscene_label\naudio/a.wav\tbus\naudio/b.wav\ttram\n"
PLACE = "split_setup/split25.csv"


def chosen(server: Any) -> ClipList:
    return ClipList(file=PLACE, url=f"{server.url}/")


def test_a_list_is_put_below_the_root(server: Any, tmp_path: Path) -> None:
    server.files["split25.csv"] = LIST
    fetch_list(chosen(server), tmp_path)
    assert (tmp_path / PLACE).read_bytes() == LIST
    assert [path.name for path in (tmp_path / "split_setup").iterdir()] == ["split25.csv"]


def test_a_mirror_has_it_by_its_name_alone(server: Any, tmp_path: Path) -> None:
    server.files["split25.csv"] = LIST
    fetch_list(ClipList(file=PLACE, url="https://127.0.0.1:1/"), tmp_path, url=server.url)
    assert (tmp_path / PLACE).read_bytes() == LIST


@pytest.mark.parametrize(
    ("content", "fault", "sentence"),
    [
        (b"<html>not found</html>", {}, "sent is not a tab-separated list of clips"),
        (LIST.replace(b"\t", b","), {}, "sent is not a tab-separated list of clips"),
        (b"filename\n", {}, "sent is not a tab-separated list of clips"),
        (b"", {}, "sent is not a tab-separated list of clips"),
        (LIST, {"status": 404}, r"cannot be fetched \(the server answered 404 .*try later or give a --url"),
        (LIST, {"stop": 30}, r"cannot be fetched \(the connection failed: .*try later or give a --url"),
    ],
)
def test_anything_else_is_refused_and_leaves_nothing(
    server: Any, tmp_path: Path, content: bytes, fault: dict[str, int], sentence: str
) -> None:
    server.files["split25.csv"] = content
    if fault:
        server.faults.append(fault)
    with pytest.raises(InputError, match=sentence) as caught:
        fetch_list(chosen(server), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "split_setup").iterdir())


def test_an_endless_answer_is_refused(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asc.data.download.clip_list, "_MOST_BYTES", 40)
    server.files["split25.csv"] = LIST
    with pytest.raises(InputError, match="is longer than 40 bytes and so no list of clips"):
        fetch_list(chosen(server), tmp_path)


def test_the_set_of_2025_is_that_of_2022_and_a_list() -> None:
    whole, quarter = package_set("tau2022"), package_set("tau2025")
    assert quarter.packages == whole.packages and quarter.root == whole.root
    (only,) = quarter.lists
    assert only.file == PLACE and only.url.startswith("https://github.com/CPJKU/dcase2024_task1_baseline/")
