"""What `--data` is taken for if it names a place alone."""

import os
from pathlib import Path

import pytest

from asc.config.data_guess import check_place, guessed, note
from asc.errors import InputError


def test_what_names_a_kind_or_does_not_exist_stays(tmp_path: Path) -> None:
    for spec in ("synthetic", "synthetic:7", f"folder:{tmp_path}", "tau2020:nowhere", "nowhere", "esc:x"):
        assert guessed(spec) == spec and note(spec) == []
    assert note(None) == []


def test_folders_and_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    for name in ("rain", "sea"):
        (tmp_path / "classes" / name).mkdir(parents=True)
    (tmp_path / "esc").mkdir()
    (tmp_path / "esc" / "meta.csv").write_text("filename,label,fold,source_id\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "meta.csv").write_text("\ufefffilename,label,group\n")
    (tmp_path / "clips.csv").write_text("label,filename\n")
    tau = "TAU-urban-acoustic-scenes-{}-mobile-development"
    (tmp_path / "tau" / tau.format(2022)).mkdir(parents=True)
    (tmp_path / tau.format(2020) / "audio").mkdir(parents=True)
    expected = {
        "classes": "folder:{}",
        "esc": "esc10:{}",
        "own": "csv:{}/meta.csv",
        "clips.csv": "csv:{}",
        "tau": "tau2022:{}",
        tau.format(2020): "tau2020:{}",
    }
    for name, kind in expected.items():
        spec = str(tmp_path / name)
        assert guessed(spec) == kind.format(spec)
        assert note(spec) == [
            f"--data {spec} is taken as {kind.format(spec)}: write that, or another kind, if it is not"
        ]


def test_a_place_that_does_not_exist_is_refused_without_reading_anything(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    for spec in ("synthetic", "synthetic:3", f"csv:{tmp_path}/x.csv", f"folder:{tmp_path}", f"tau2020:{tmp_path}"):
        check_place(spec)
    for spec in (f"csv:{tmp_path}", f"csv:{tmp_path}/y.csv"):
        with pytest.raises(InputError, match="does not exist or is not a file"):
            check_place(spec)
    for spec in (f"folder:{tmp_path}/y", f"esc10:{tmp_path}/x.csv"):
        with pytest.raises(InputError, match="does not exist or is not a folder"):
            check_place(spec)


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe\x00"])
def test_what_looks_like_no_data_set_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    for spec in (file, tmp_path):
        with pytest.raises(InputError, match=f"--data {spec} looks like no data set"):
            guessed(str(spec))


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HOME", str(tmp_path))
    for name in ("rain", "sea"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
    assert guessed("~/sounds") == f"folder:{tmp_path}/sounds"
