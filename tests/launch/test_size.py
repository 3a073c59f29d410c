"""launch/size.py as a user starts it."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "launch" / "size.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a new process that then prints which heavy modules it imported."""
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['size.py', *{list(arguments)!r}]\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "finally:\n"
        "    print(*sorted({'torch', 'numpy', 'onnx'} & set(sys.modules)), 'imported', file=sys.stderr)\n"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_the_memory_plan_is_printed_and_in_json_without_torch_or_numpy() -> None:
    finished = run("--recipe", "qat_8b", "--memory", "--seconds", "1", "--json")
    assert finished.returncode == 0
    assert finished.stderr.splitlines()[-1] == "imported"
    answer = json.loads(finished.stdout)
    assert answer["memory"]["flash_bytes"] == answer["bytes_with_zeros"] == 127_944
    assert answer["memory"]["peak_bytes"] == answer["peak_activation_bytes"] == 24 * 64 * 50 * 8 + 96
    assert "blocks.0.se.scale" in finished.stderr and "static arena of" in finished.stderr


def test_without_memory_no_plan_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    module = runpy.run_path(str(SCRIPT))
    assert module["main"](module["Options"](json=True)) == 0
    printed = capsys.readouterr()
    assert "memory" not in json.loads(printed.out) and "arena" not in printed.err
