"""Run a script of launch/ in this process, which saves seconds over starting a new one."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def launched(script: str, *options: str) -> int:
    """Run a script with these options and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", [script, *options])
        runpy.run_path(str(ROOT / "launch" / script), run_name="__main__")
    code = ended.value.code
    assert isinstance(code, int), code
    return code


def refusal(capsys: pytest.CaptureFixture[str], script: str, *options: str) -> str:
    """Run a script that must refuse its input, and return its one-line error message."""
    capsys.readouterr()
    code = launched(script, *options)
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err
    assert err.count("\n") == 1 and err.startswith("error: "), err
    return err
