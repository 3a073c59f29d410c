"""Printed predictions: columns, quoting, file names that are not valid text, options that exclude each other."""

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from asc.console import cli
from asc.console.cli import shown
from asc.console.prediction_text import (
    Printer,
    Style,
    csv_line,
    file_names,
    most_probable,
    require_one_style,
    require_one_task,
)
from asc.errors import InputError
from asc.results import Prediction

PREDICTION = Prediction(labels=("tram", 'park, "old"', "métro"), probabilities=(0.25, 0.125, 0.625))


def printed(style: Style, capsys: pytest.CaptureFixture[str], *whats: Path | float, top: int = 1) -> str:
    key = "file" if isinstance(whats[0], Path) else "time_s"
    printer = Printer(cli.Output(as_json=style == "json"), style, key=key, top=top)
    for what in whats:
        printer(what, PREDICTION)
    if key == "file":
        printer.finish(more=1)
    assert printer.count == len(whats)
    return capsys.readouterr().out


def test_lines_have_labels_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert most_probable(PREDICTION, 2) == "métro        62.5%  tram         25.0%"
    assert most_probable(PREDICTION, 9).count("%") == 3
    assert printed("lines", capsys, Path("a  b/[bold]:dog:.wav")) == "métro        62.5%  a  b/[bold]:dog:.wav\n"
    assert printed("lines", capsys, 0.30000000000000004) == "   0.3 s  métro        62.5%\n"
    assert printed("lines", capsys, 1_234_567.25).startswith("1234567.25 s  ")
    long = Path("x" * 500 + ".wav")
    assert printed("lines", capsys, long).endswith(f"{long}\n"), "lines must not be wrapped"


def test_csv_can_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    names = [Path('a,"b".wav'), Path("c\nd.wav")]
    rows = list(csv.reader(io.StringIO(printed("csv", capsys, *names))))
    assert rows[0] == ["file", "label", "probability", *PREDICTION.labels]
    assert rows[1:] == [[str(name), "métro", "0.625", "0.25", "0.125", "0.625"] for name in names]
    assert csv_line(["a", 1]) == "a,1"


def test_json_is_one_object_for_files_and_one_per_line_for_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed("json", capsys, Path("a.wav"), Path("b.wav")))
    assert [entry["file"] for entry in found["predictions"]] == ["a.wav", "b.wav"] and found["more"] == 1
    lines = [json.loads(line) for line in printed("json", capsys, 1.0, 2.0).splitlines()]
    assert [line["time_s"] for line in lines] == [1, 2]
    assert list(lines[0]["probabilities"].items()) == [("métro", 0.625), ("tram", 0.25), ('park, "old"', 0.125)]
    assert lines[0]["label"] == "métro" and lines[0]["probability"] == 0.625


def test_json_keeps_a_file_name_that_is_not_valid_text() -> None:
    assert file_names(Path("café.wav")) == {"file": "café.wav"}
    found = file_names(Path(os.fsdecode(b"caf\xe9.wav")))
    assert found == {"file": "caf\\xe9.wav", "file_bytes": b"caf\xe9.wav".hex()}


def test_the_note_of_a_stream_is_printed_when_it_begins_or_changes(capsys: pytest.CaptureFixture[str]) -> None:
    notes = [None, "silent", "silent", "opposite", "opposite", None, "opposite"]
    for style in ("lines", "json"):
        printer = Printer(cli.Output(as_json=style == "json"), style, key="time_s")  # type: ignore[arg-type]
        for time_s, note in enumerate(notes, start=1):
            printer(time_s / 2, replace(PREDICTION, note=note))
        out, err = capsys.readouterr()
        if style == "json":
            assert [json.loads(line).get("note") for line in out.splitlines()] == notes and err == ""
        else:
            assert err == "note: 1 s: silent\nnote: 2 s: opposite\nnote: 3.5 s: opposite\n"


@pytest.mark.parametrize("style", ["lines", "csv", "json"])
def test_a_note_is_given_with_its_prediction(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(cli.Output(as_json=style == "json"), style, key="file")
    printer(Path("a.wav"), replace(PREDICTION, note="it is silent"))
    printer.finish()
    out, err = capsys.readouterr()
    if style == "json":
        assert json.loads(out)["predictions"][0]["note"] == "it is silent"
    else:
        assert err == "note: a.wav: it is silent\n" and "silent" not in out


def test_a_file_name_that_is_not_valid_text_is_shown_escaped() -> None:
    assert shown(Path(os.fsdecode(b"caf\xe9.wav"))) == "caf\\xe9.wav"
    assert shown(Path("café.wav")) == "café.wav"


@pytest.mark.parametrize(
    ("paths", "follow", "right"),
    [((), False, False), ((Path("a"),), True, False), ((), True, True), ((Path("a"),), False, True)],
)
def test_files_and_a_stream_exclude_each_other(paths: tuple[Path, ...], follow: bool, right: bool) -> None:
    if right:
        require_one_task(paths, follow=follow)
        return
    with pytest.raises(InputError):
        require_one_task(paths, follow=follow)


@pytest.mark.parametrize(("csv", "json", "top"), [(True, True, 1), (False, False, 0)])
def test_csv_and_json_exclude_each_other(csv: bool, json: bool, top: int) -> None:
    require_one_style(csv=csv, json=False, top=3)
    with pytest.raises(InputError):
        require_one_style(csv=csv, json=json, top=top)
