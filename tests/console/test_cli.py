"""What all scripts share: exit codes, error sentences, both outputs, --json; and launch/size.py as an example."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from asc.console import cli

ROOT = Path(__file__).resolve().parents[2]
SIZE = ROOT / "launch" / "size.py"

SCRIPT = """
import dataclasses, errno, logging, sys
from typing import Literal
from asc.console import cli
from asc.errors import InputError

@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    '''Try the ways out.'''
    way: Literal[
        "done", "failed", "warned", "input", "lines", "full", "quota", "large", "gone", "moved", "memory", "torch",
        "threads", "value", "interrupt",
    ]
    '''Which one.'''
    json: bool = False
    '''Print one JSON object on standard output.'''

def main(options: Options) -> int:
    output = cli.Output(as_json=options.json)
    match options.way:
        case "input":
            raise InputError("my.toml: unknown key sede: did you mean seed?")
        case "lines":
            raise InputError("one\\n  two\\r\\nthree")
        case "full":
            raise OSError(errno.ENOSPC, "No space left on device", "/data/file")
        case "quota":
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        case "large":
            raise OSError(errno.EFBIG, "File too large")
        case "gone":
            raise OSError(errno.EIO, "Input/output error")
        case "moved":
            open(__file__ + "/below", "w")
        case "memory":
            bytearray(10**15)
        case "torch":
            import torch

            torch.empty(10**14)
        case "threads":
            import torch
        case "value":
            raise ValueError("a fault of ours")
        case "interrupt":
            raise KeyboardInterrupt
        case "failed":
            return cli.FAILED
        case "warned":
            logging.getLogger("asc.data").warning("mend a\\x1b[31mb.wav")
    output.say("on the way [bold]")
    output.result("a [result]")
    output.json({"value": 1, "text": "\\u00e4"})
    return cli.DONE

if __name__ == "__main__":
    cli.launch(main, Options)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "script.py"
    path.write_text(SCRIPT)
    return path


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "300"}
    command: Sequence[str] = (sys.executable, str(script), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def complaint(answer: subprocess.CompletedProcess[str]) -> str:
    """The error sentence; checks exit code 2, nothing on standard output, and one line on standard error."""
    assert answer.returncode == 2, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1 and answer.stderr.endswith("\n")
    return answer.stderr.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("input", "my.toml: unknown key sede: did you mean seed?"),
        ("lines", "one two three"),
        (
            "full",
            "the disk is full at /data/file (No space left on device): free some space; what was finished is kept",
        ),
        ("quota", "the disk is full (Disk quota exceeded): free some space; what was finished is kept"),
        ("large", "the disk is full (File too large): free some space; what was finished is kept"),
        (
            "gone",
            "a file or a connection cannot be used (Input/output error): check whether the disk is damaged or a "
            "network drive is disconnected; what was finished is kept",
        ),
        (
            "memory",
            "there is no memory left: end other programs, or use a machine with more memory; what was finished is kept",
        ),
    ],
)
def test_wrong_input_and_a_full_disk_give_one_sentence(script: Path, way: str, sentence: str) -> None:
    assert complaint(run(script, "--way", way)) == sentence
    assert complaint(run(script, "--way", way, "--json")) == sentence


def test_errors_of_the_machine_give_one_sentence_that_names_the_cause(script: Path) -> None:
    assert complaint(run(script, "--way", "moved")) == (
        f"{script}/below cannot be used (Not a directory): check that it was not moved or removed meanwhile; what was "
        "finished is kept"
    )
    memory = complaint(run(script, "--way", "torch"))
    assert memory.startswith("there is no memory left (") and "tried to allocate" in memory


@pytest.mark.parametrize(("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(
    script: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], policy: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    for name, value in {"OMP_DISPLAY_ENV": "true", **given}.items():
        monkeypatch.setenv(name, value)
    answer = run(script, "--way", "threads")
    assert answer.returncode == 0, answer.stderr
    assert f"OMP_WAIT_POLICY = '{policy}'" in answer.stderr, "OpenMP says what it has read"


def test_a_fault_of_asc_shows_its_traceback(script: Path) -> None:
    answer = run(script, "--way", "value")
    assert answer.returncode == 1 and answer.stdout == ""
    assert answer.stderr.startswith("Traceback") and answer.stderr.rstrip().endswith("ValueError: a fault of ours")


@contextlib.contextmanager
def unwritable(kind: str) -> Iterator[int]:
    """A descriptor that cannot be written: a pipe whose reader has gone, or a full device."""
    if kind == "full":
        with open("/dev/full", "wb") as device:
            yield device.fileno()
        return
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def ended(script: Path, *arguments: str, unbuffered: str, **outputs: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "300", "PYTHONUNBUFFERED": unbuffered}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **outputs}
    return subprocess.run([sys.executable, str(script), *arguments], text=True, check=False, env=environment, **given)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--way", "done"], ["--way", "done", "--json"], ["--help"]])
@pytest.mark.parametrize(("kind", "reason"), [("gone", "closed before all was printed"), ("full", "lost (No space")])
def test_unwritable_standard_output_is_reported(
    script: Path, kind: str, reason: str, arguments: list[str], unbuffered: str
) -> None:
    with unwritable(kind) as output:
        answer = ended(script, *arguments, unbuffered=unbuffered, stdout=output)
    assert answer.returncode == 2
    said = answer.stderr.splitlines()
    assert said[-1].startswith(f"error: standard output was {reason}") and answer.stderr.count("error") == 1, said
    assert "Traceback" not in answer.stderr and "Exception" not in answer.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("kind", ["gone", "full"])
def test_unwritable_standard_error_changes_nothing_else(script: Path, kind: str, unbuffered: str) -> None:
    with unwritable(kind) as output:
        answer = ended(script, "--way", "done", "--json", unbuffered=unbuffered, stderr=output)
        refused = ended(script, "--way", "input", unbuffered=unbuffered, stderr=output)
        warned = ended(script, "--way", "warned", unbuffered=unbuffered, stderr=output)
    assert answer.returncode == 0 and json.loads(answer.stdout)["value"] == 1
    assert (refused.returncode, refused.stdout) == (2, "")
    assert (warned.returncode, warned.stdout) == (0, "a [result]\n")


def test_a_warning_is_one_line_without_control_characters(script: Path) -> None:
    assert run(script, "--way", "warned").stderr.splitlines()[0] == r"warning: mend a\x1b[31mb.wav"


def test_the_result_of_main_is_the_exit_code(script: Path) -> None:
    assert run(script, "--way", "failed").returncode == 1
    interrupted = run(script, "--way", "interrupt")
    assert interrupted.returncode == 128 + signal.SIGINT and "Traceback" not in interrupted.stderr


def test_results_go_to_standard_output_and_everything_else_to_standard_error(script: Path) -> None:
    answer = run(script, "--way", "done")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "a [result]\n", "on the way [bold]\n")


def test_with_json_standard_output_has_only_the_json(script: Path) -> None:
    answer = run(script, "--way", "done", "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout) == {"value": 1, "text": "\u00e4"} and answer.stdout.count("\n") == 1
    assert answer.stderr == "on the way [bold]\na [result]\n"


@pytest.mark.parametrize("arguments", [[], ["--way", "sideways"], ["--way", "done", "--jsn"], ["--way"]])
def test_a_wrong_command_line_exits_with_code_2(script: Path, arguments: list[str]) -> None:
    answer = run(script, *arguments)
    assert answer.returncode == 2 and answer.stdout == ""
    assert answer.stderr and "Traceback" not in answer.stderr


def test_help_names_every_option(script: Path) -> None:
    answer = run(script, "--help")
    assert answer.returncode == 0 and answer.stderr == ""
    assert "Try the ways out." in answer.stdout and "Which one." in answer.stdout and "--json" in answer.stdout


def test_size_counts_the_reference_like_the_seeds_technical_report() -> None:
    answer = run(SIZE, "--recipe", "qat_8b", "--stored-as", "report", "--json")
    assert answer.returncode == 0 and answer.stdout.count("\n") == 1
    tree = json.loads(answer.stdout)
    assert tree["parameters"] == 113_976 and tree["bytes"] == 130_704
    assert tree["fits"]["dcase2021"] is True and tree["fits"]["dcase2024"] is False
    assert "113,976" in answer.stderr, "the tables for people are on standard error"


def test_size_prints_tables_for_people() -> None:
    answer = run(SIZE, "--stored-as", "report")
    assert answer.returncode == 0 and answer.stderr == ""
    assert "113,976" in answer.stdout and "130,704 = 127.64 KB" in answer.stdout


def test_size_applies_changes_to_a_config(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("schema = 2\n[architecture]\nclasses = 5\n")
    changes = ("--set", "architecture.widths=[8, 8]", "--set", "architecture.widths.1=16")
    answer = run(SIZE, "--config", str(path), *changes, "--json")
    assert answer.returncode == 0
    sizes = {item["name"]: item["count"] for item in json.loads(answer.stdout)["items"]}
    assert (sizes["stem.weight"], sizes["dense.bias"]) == (72, 5) and sizes["dense.weight"] == 16 * 16 * 2 * 5


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (
            ("--recipe", "qat_9b"),
            "qat_9b is neither a file nor a recipe: give a TOML file or one of 16b_prune, ",
        ),
        (("--recipe", "qat_8b", "--config", "x.toml"), "give --recipe or --config, not both"),
        (("--set", "architecture.widht.0=8"), "unknown key architecture.widht.0: did you mean architecture.widths.0"),
        (("--set", "architecture.widths.0"), "--set architecture.widths.0: write KEY=VALUE"),
        (("--set", "architecture.widths.0=x"), "architecture.widths.0 must be a whole number, got 'x'"),
        (("--set", "front_end.window_s=nan"), "front_end.window_s must be a finite number"),
        (("--config", "none.toml"), "none.toml is neither a file nor a recipe"),
        (("--config", "x\ny"), "x y is neither a file nor a recipe"),
        (("--seconds", "0"), "0.0 s of audio are too short"),
        (("--seconds", "nan"), "the length of the audio must be a number of seconds, got nan"),
        (("--seconds", "inf"), "the length of the audio must be a number of seconds, got inf"),
        (("--json", "--budget-kb", "nan"), "the budget must be a number of KB above 0"),
    ],
)
def test_wrong_input_to_size_gives_one_sentence(arguments: tuple[str, ...], part: str) -> None:
    answer = run(SIZE, *arguments)
    if "--budget-kb" in arguments:  # with --json the tables before the error are on standard error
        assert answer.returncode == 2 and answer.stdout == "" and part in answer.stderr.splitlines()[-1]
    else:
        assert part in complaint(answer)


def test_size_does_not_import_torch() -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['size.py', '--json']\n"
        "try:\n"
        f"    runpy.run_path({str(SIZE)!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0\n"
        "print([name for name in ('torch', 'numpy', 'ray', 'mlflow') if name in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_quiet_leaves_out_progress_but_not_results_and_not_what_must_be_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for as_json in (False, True):
        output = cli.Output(as_json=as_json, quiet=True)
        output.say("on the way")
        output.notes(["a note"])
        output.progress.print("drawn")
        output.result("a [result]")
        output.alert("go on with [this]")
        output.json({"value": 1})
        out, err = capsys.readouterr()
        assert err == "go on with [this]\n"
        assert out == ('{"value": 1}\n' if as_json else "a [result]\n")
    cli.Output(as_json=False).alert("always")
    assert capsys.readouterr().err == "always\n"


def test_the_help_of_a_script_opens_with_its_examples_in_whole_words() -> None:
    environment = {**os.environ, "COLUMNS": "60"}
    said = subprocess.run([sys.executable, str(SIZE), "--help"], capture_output=True, text=True, env=environment)
    assert said.returncode == 0, said.stderr
    _, opening, first, *_ = [line for line in said.stdout.splitlines() if line]
    assert (opening, first) == ("Examples:", "  python launch/size.py --recipe qat_8b")
    words = set(said.stdout.replace("\u2502", " ").split())
    assert {"multiply-accumulates", "activation", "operation,"} & words, "words are not cut"
