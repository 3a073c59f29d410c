"""Find the sound files in a list of paths and predict them, even if some cannot be used."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_files import limited

import asc
from asc.console import cli
from asc.console.prediction_text import Printer, Style
from asc.inference.files import Unreadable, predict_files, predictions, sound_files
from asc.inference.predict import Model


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return asc.load(tiny_model)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_searched_in_order_and_each_file_is_listed_once(tmp_path: Path) -> None:
    names = ("b.wav", "a/z.FLAC", "a/c.ogg", "c.mp3")
    touch(*(tmp_path / name for name in names))
    touch(tmp_path / "notes.txt", tmp_path / ".b.wav", tmp_path / "x.raw", tmp_path / "odd.txt")
    (tmp_path / "d.wav").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    found = sound_files([tmp_path / "odd.txt", tmp_path, tmp_path / "a", tmp_path / "b.wav"])
    assert found.files == tuple(tmp_path / name for name in ("odd.txt", "a/c.ogg", "a/z.FLAC", "b.wav", "c.mp3"))
    assert found.passed_over == tuple(tmp_path / name for name in (".b.wav", "loop", "notes.txt", "pipe.wav", "x.raw"))
    assert found.problems == ()


def test_a_folder_without_sound_is_a_problem(tmp_path: Path) -> None:
    touch(tmp_path / "full" / "a.wav")
    (tmp_path / "empty").mkdir()
    touch(tmp_path / "other" / "a.txt", tmp_path / "other" / "b.raw")
    found = sound_files([tmp_path / "empty", tmp_path / "full", tmp_path / "other"])
    assert found.files == (tmp_path / "full" / "a.wav",)
    reasons = {problem.path.name: problem.reason for problem in found.problems}
    assert reasons["empty"] == "no sound file in this folder (wav, flac, ogg, mp3, m4a, ...)"
    assert reasons["other"].startswith(reasons["empty"] + ", only 2 others (") and "b.raw" in reasons["other"]


def test_each_skipped_file_is_reported_once(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    touch(tmp_path / "none" / "a.txt", tmp_path / "some" / "b.txt")
    soundfile.write(tmp_path / "some" / "c.wav", [0.1] * 8000, 8000)
    folders = [tmp_path / "none", tmp_path / "some"]
    assert predict_files(model, folders, Printer(cli.Output(as_json=True), "json", key="file")) == cli.WRONG_INPUT
    out, err = capsys.readouterr()
    assert err.count("a.txt") == 1 and f"{tmp_path}/none: no sound file in this folder" in err
    assert f"passed over in folders: 1 other ({tmp_path}/some/b.txt)\n" in err
    assert [Path(entry["file"]).name for entry in json.loads(out)["passed_over"]] == ["a.txt", "b.txt"]


def test_names_with_control_characters_do_not_reach_the_terminal(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", [0.1] * 8000, 8000)
    (tmp_path / "good.wav").rename(tmp_path / "a\x1b[31mb\r.wav")
    touch(tmp_path / "bad\x1b[2J\x9b.wav", tmp_path / "other\x07.txt")
    predict_files(model, [tmp_path], Printer(cli.Output(as_json=False), "lines", key="file"))
    out, err = capsys.readouterr()
    assert "a\\x1b[31mb\\x0d.wav" in out and "bad\\x1b[2J\\x9b.wav" in err and "other\\x07.txt" in err
    assert not {*"\x1b\r\x07\x9b"} & {*out, *err}


def test_a_folder_that_cannot_be_listed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "open" / "a.wav", tmp_path / "shut" / "b.wav")
    listed = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = sound_files([tmp_path])
    assert found.files == (tmp_path / "open" / "a.wav",)
    assert found.problems == (Unreadable(path=tmp_path / "shut", reason="unreadable: Permission denied"),)


def test_a_bad_file_does_not_stop_the_others(model: Model, tiny_csv: Path, tmp_path: Path) -> None:
    good = tiny_csv.parent / "up_fast-00-0.wav"
    short = tmp_path / "short.wav"
    soundfile.write(short, [0.1] * 10, 8000)
    touch(tmp_path / "bad.wav")
    raw = tmp_path / "a.raw"
    touch(raw)
    said = dict(predictions(model, [tmp_path / "bad.wav", good, short, raw]))
    assert said[good] == model.predict_file(good)
    reasons = {path.name: found.reason for path, found in said.items() if isinstance(found, Unreadable)}
    assert "unreadable" in reasons["bad.wav"] and "shorter than one frame" in reasons["short.wav"]
    assert "rate is not known" in reasons["a.raw"]
    assert not any(str(tmp_path) in reason for reason in reasons.values())


def test_a_file_too_large_for_memory_is_named_and_the_others_are_predicted(
    tiny_model: Path, tiny_csv: Path, tmp_path: Path
) -> None:
    """The sparse file holds 30 s at 10 MHz: one window, whose samples alone take 1.2 GB."""
    large, good = tmp_path / "large.wav", tiny_csv.parent / "up_fast-00-0.wav"
    samples = 299_000_000
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 10_000_000, 10_000_000, 1, 8)
    head = struct.pack("<4sI4s", b"RIFF", samples + 36, b"WAVE") + form + struct.pack("<4sI", b"data", samples)
    with large.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + samples)
    script = """
import asc
from asc.inference.files import predictions
model, *names = sys.argv[1:]
model = asc.load(model)
model.predict_file(Path(names[-1]))
limit()
for path, said in predictions(model, list(map(Path, names))):
    print(path.name, getattr(said, "reason", None) or said.label)
"""
    done = limited(script, str(tiny_model), str(large), str(good))
    named, found = done.stdout.splitlines()
    assert named.startswith("large.wav there is no memory left"), named
    assert found.split()[0] == good.name and found.split()[1] in asc.load(tiny_model).labels


def test_an_interruption_keeps_the_predictions_made_so_far(
    model: Model, tiny_csv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tiny_csv.parent / name for name in ("up_fast-00-0.wav", "up_fast-00-1.wav", "up_slow-00-0.wav")]
    predict = Model.predict_file

    def interrupted(self: Model, path: Path) -> object:
        if path == files[2]:
            raise KeyboardInterrupt
        return predict(self, path)

    monkeypatch.setattr(Model, "predict_file", interrupted)
    code = predict_files(model, files, Printer(cli.Output(as_json=False), "lines", key="file"))
    out, err = capsys.readouterr()
    assert code == cli.INTERRUPTED and out.count("\n") == 2
    assert err.splitlines()[-1] == "stopped: 2 of 3 files predicted"
    for there, complete in ((files, False), (files[:2], True)):
        predict_files(model, there, Printer(cli.Output(as_json=True), "json", key="file"))
        found = json.loads(capsys.readouterr().out)
        assert found["complete"] is complete and len(found["predictions"]) == 2


@pytest.mark.parametrize("style", ["lines", "csv", "json"])
def test_file_names_that_are_not_utf_8_do_not_stop_the_others(
    model: Model, tiny_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], style: Style
) -> None:
    sound = (tiny_csv.parent / "up_fast-00-0.wav").read_bytes()
    for name in (b"a.wav", b"caf\xe9.wav", b"z.wav"):
        (tmp_path / os.fsdecode(name)).write_bytes(sound)
    (tmp_path / os.fsdecode(b"cut\xe9.wav")).write_bytes(sound[:-999])
    (tmp_path / os.fsdecode(b"\xe9.txt")).write_bytes(b"x")
    code = predict_files(model, [tmp_path], Printer(cli.Output(as_json=style == "json"), style, key="file"))
    out, err = capsys.readouterr()
    assert code == cli.WRONG_INPUT and f"error: {tmp_path}/cut\\xe9.wav: cut off" in err
    assert f"passed over in folders: 1 other ({tmp_path}/\\xe9.txt)" in err
    if style == "json":
        found = json.loads(out)
        names = [bytes.fromhex(entry.get("file_bytes", "")) for entry in found["predictions"]]
        assert names == [b"", os.fsencode(tmp_path) + b"/caf\xe9.wav", b""]
        assert [entry["file"] for entry in found["passed_over"]] == [f"{tmp_path}/\\xe9.txt"]
        assert "file_bytes" in found["unreadable"][0]
    else:
        assert [line.count("caf\\xe9.wav") for line in out.splitlines()][-3:] == [0, 1, 0]


def test_silence_and_channels_that_cancel_get_a_note(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).standard_normal(8000) * 0.1
    for name, sound in (
        ("silent", 0 * noise),
        ("phase", np.stack([noise, -noise], axis=1)),
        ("mono", noise),
        ("long", np.tile(0 * noise, 35)),
    ):
        soundfile.write(tmp_path / f"{name}.wav", sound, 8000)
    assert predict_files(model, [tmp_path], Printer(cli.Output(as_json=False), "csv", key="file")) == cli.DONE
    notes = {line.split(": ")[1]: line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")}
    assert {Path(name).stem for name in notes} == {"silent", "phase", "long"}
    assert "opposite phase" in notes[f"{tmp_path}/phase.wav"]
    waveform, rate_hz = soundfile.read(tmp_path / "phase.wav", dtype="float32")
    assert model.predict(waveform.T, rate_hz) == model.predict_file(tmp_path / "phase.wav")
