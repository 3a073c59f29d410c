"""launch/predict.py as a user starts it, with files, folders and streams: both outputs and the exit code."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from launched import ROOT, launched
from patience import PATIENCE_S

import asc
from asc.inference.predict import Model

SCRIPT = ROOT / "launch" / "predict.py"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return asc.load(tiny_model)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_model: Path) -> Run:
    def started(*options: object, stdin: bytes | None = None) -> tuple[int, str, str]:
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = launched("predict.py", str(tiny_model), *map(str, options))
        return code, *capsys.readouterr()

    return started


@pytest.fixture
def sounds(tmp_path: Path, tiny_csv: Path) -> Path:
    """A folder, named like markup, with two good files, one of them in a subfolder, and two that cannot be used."""
    folder = tmp_path / "[red] :dog: sounds"
    (folder / "below").mkdir(parents=True)
    for name, copy in (("up_fast-00-0.wav", "b, 1.wav"), ("down_slow-03-1.wav", "below/a.wav")):
        (folder / copy).write_bytes((tiny_csv.parent / name).read_bytes())
    (folder / "cut.wav").write_bytes((folder / "b, 1.wav").read_bytes()[:-999])
    (folder / "text.wav").write_text("no sound")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "below" / "._a.wav").write_text("hidden")
    return folder


def test_quiet_leaves_out_all_but_results_and_what_went_wrong(run: Run, sounds: Path) -> None:
    code, said, _ = run(sounds / "below")
    assert (code, *run(sounds / "below", "--quiet")) == (0, 0, said, "")
    code, _, err = run(sounds, "--quiet")
    assert code == 2 and err.splitlines() and all(line.startswith("error: ") for line in err.splitlines())


def test_predictions_are_lines_and_unusable_files_are_named_at_the_end(run: Run, model: Model, sounds: Path) -> None:
    code, out, err = run(sounds, sounds / "missing.flac", "--top", 2)
    assert code == 2
    lines = out.splitlines()
    assert [line.split("  ")[-1] for line in lines] == [str(sounds / "b, 1.wav"), str(sounds / "below" / "a.wav")]
    for line, name in zip(lines, ("b, 1.wav", "below/a.wav"), strict=True):
        (first, p), (second, q) = model.predict_file(sounds / name).top(2)
        assert line.split()[:4] == [first, f"{p:.1%}", second, f"{q:.1%}"]
    *_, cut, text, missing, last = err.splitlines()
    assert cut.startswith(f"error: {sounds / 'cut.wav'}: cut off") and "text.wav: unreadable" in text
    assert missing == f"error: {sounds / 'missing.flac'}: unreadable: No such file or directory"
    assert last == "2 of 5 files predicted; 3 cannot be used and are named above"
    assert "predicting: 5 of 5 files" in err


def test_csv_has_every_probability(run: Run, model: Model, sounds: Path) -> None:
    code, out, err = run(sounds / "b, 1.wav", sounds / "below", sounds / "b, 1.wav", "--csv")
    assert code == 0 and err.splitlines()[-1] == "2 files predicted"
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == ["file", "label", "probability", *model.labels]
    assert [row["file"] for row in rows] == [str(sounds / "b, 1.wav"), str(sounds / "below" / "a.wav")]
    for row in rows:
        said = model.predict_file(row["file"])
        assert (row["label"], row["probability"]) == (said.label, f"{said.probability:.9g}")
        assert [row[label] for label in model.labels] == [f"{p:.9g}" for p in said.probabilities]


def test_json_is_one_object(run: Run, model: Model, sounds: Path) -> None:
    code, out, err = run(sounds, "--json")
    found = json.loads(out)
    assert code == 2 and out.count("\n") == 1 and "2 of 4 files predicted" in err
    assert found["labels"] == list(model.labels) and found["complete"] is True
    assert [Path(entry["file"]).name for entry in found["predictions"]] == ["b, 1.wav", "a.wav"]
    said = model.predict_file(sounds / "b, 1.wav")
    assert found["predictions"][0]["probabilities"] == dict(said.top(4))
    assert list(found["predictions"][0]["probabilities"])[0] == found["predictions"][0]["label"] == said.label
    assert [Path(entry["file"]).name for entry in found["unreadable"]] == ["cut.wav", "text.wav"]


def test_one_file_shows_no_progress(run: Run, sounds: Path) -> None:
    code, out, err = run(sounds / "b, 1.wav")
    assert code == 0 and out.count("\n") == 1 and err == "1 file predicted\n"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ((), "there is nothing to predict"),
        (("--follow", "a.wav"), "either --follow or files"),
        (("a.wav", "--csv", "--json"), "either CSV or JSON"),
        (("a.wav", "--top", "0"), "--top must be at least 1"),
        (("--follow", "--rate", "0"), "between 100 and 10,000,000 Hz"),
        (("--follow", "--window", "2.5"), "multiple of the step"),
        (("--follow", "--window", "1000000000"), "at most 3,600 s"),
    ],
)
def test_wrong_options_give_one_sentence(run: Run, options: tuple[str, ...], part: str) -> None:
    code, out, err = run(*options, stdin=b"\x00" * 100)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1 and part in err


def test_a_stream_that_is_not_sound_gives_one_sentence(run: Run) -> None:
    code, out, err = run("--follow", stdin=b"<!DOCTYPE html><html>404</html>" * 9000)
    assert (code, out) == (2, "") and err.startswith("error: the stream begins like HTML") and err.count("\n") == 1


def test_a_stream_in_another_container_is_predicted(run: Run, tiny_csv: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, soundfile.read(tiny_csv.parent / "up_fast-00-0.wav")[0], 8000, format="FLAC")
    code, out, err = run("--follow", "--every", "0.1", "--window", "0.5", stdin=file.getvalue())
    assert code == 0 and out.count("\n") == 5
    assert err.startswith("listening: 8,000 Hz, 1 channel, flac (decoded from FLAC), the latest ")


def test_a_closed_standard_input_gives_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python sets it for `<&-`
    code, out, err = run("--follow")
    assert (code, out) == (2, "") and err.startswith("error: standard input is closed") and err.count("\n") == 1


def test_a_folder_without_sound_is_an_error(run: Run, tmp_path: Path) -> None:
    code, out, err = run(tmp_path)
    assert (code, out) == (2, "") and f"error: {tmp_path}: no sound file in this folder" in err


def pcm(tiny_csv: Path, seconds: float) -> bytes:
    sound = soundfile.read(tiny_csv.parent / "up_fast-00-0.wav", dtype="int16")[0]
    return bytes(np.resize(sound, round(seconds * 8000)).astype("<i2").tobytes())


@pytest.mark.parametrize("style", ["--csv", "--json", None])
def test_a_stream_gives_a_line_per_second(run: Run, model: Model, tiny_csv: Path, style: str | None) -> None:
    options = ["--follow", "--rate", "8000", "--window", "3", *([style] if style else [])]
    code, out, err = run(*options, stdin=pcm(tiny_csv, 4.6))
    assert code == 0
    assert err.splitlines() == [
        "listening: 8,000 Hz, 1 channel, s16le (raw PCM), the latest 3 s every 1 s",
        "end of the stream after 4.6 s: 4 lines",
    ]
    first = model.predict(np.frombuffer(pcm(tiny_csv, 1.0), "<i2"), 8000)
    lines = out.splitlines()
    match style:
        case "--csv":
            rows = list(csv.DictReader(lines))
            assert [row["time_s"] for row in rows] == ["1.0", "2.0", "3.0", "4.0"]
            label, found = rows[0]["label"], float(rows[0]["probability"])
        case "--json":
            objects = [json.loads(line) for line in lines]
            assert [entry["time_s"] for entry in objects] == [1, 2, 3, 4]
            assert list(objects[0]["probabilities"].values()) == pytest.approx([p for _, p in first.top(4)], abs=1e-6)
            label, found = objects[0]["label"], objects[0]["probability"]
        case _:
            assert [line.split()[:2] for line in lines] == [["1", "s"], ["2", "s"], ["3", "s"], ["4", "s"]]
            label, found = lines[0].split()[2], float(lines[0].split()[3].rstrip("%")) / 100
    assert label == first.label and found == pytest.approx(first.probability, abs=6e-4)


def test_a_stream_that_is_too_short_gives_one_sentence(run: Run, tiny_csv: Path) -> None:
    code, out, err = run("--follow", "--rate", "8000", stdin=pcm(tiny_csv, 0.9))
    assert (code, out) == (2, "") and err.splitlines()[-1].startswith("error: the stream ended after 0.90 s")


def test_a_stream_gives_lines_at_once_and_its_pipes_may_close(tiny_model: Path, tiny_csv: Path) -> None:
    """A line comes before more of the stream is sent, Ctrl-C stops cleanly, and `| head` gives no traceback."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), str(tiny_model), "--follow", "--rate", "8000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(pcm(tiny_csv, 1.0))
        process.stdin.flush()
        assert process.stdout.readline().split()[:2] == [b"1", b"s"]
        process.send_signal(2)
        assert process.wait(timeout=PATIENCE_S) == 130
        errors = process.stderr.read()  # Ctrl-C may come after a line is printed and before it is counted
        assert b"Traceback" not in errors and errors.splitlines()[-1].startswith(b"stopped after 1.0 s: ")
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(pcm(tiny_csv, 1.0))
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(pcm(tiny_csv, 3.0))
        process.stdin.close()
        assert process.wait(timeout=PATIENCE_S) == 2
        errors = process.stderr.read()
        assert b"Traceback" not in errors
        assert errors.splitlines()[-1].startswith(b"error: standard output was closed before all was printed")
