"""The console command `asc` and its completion, which a real shell is given (`test_wheel.py` installs the command)."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asc.launchers import NAMES

ASC = (sys.executable, "-c", "from asc.console.command import main; main()")
# Bash calls this function when a user presses Tab; it answers with COMPREPLY.
TAB = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
$(complete -p asc | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ASC, *words], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answer = said("completion", "bash")
    assert answer.returncode == 0, answer.stderr
    path = tmp_path_factory.mktemp("completion") / "asc.bash"
    path.write_text(answer.stdout)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["asc", ""], set(NAMES)),
        (["asc", "tr"], {"train", "track"}),
        (["asc", "search", "--bud"], {"--budget-kb"}),
        (["asc", "evaluate", "--split", "v"], {"valid"}),
        (["asc", "data", "p"], {"pack"}),
        (["asc", "search", "--asha", ""], {"stopping", "promotion"}),
        (["asc", "search", "--calibrate", ""], {"none", "temperature", "multinomial", "one_vs_rest"}),
    ],
)
def test_bash_completes_commands_options_and_values(script: Path, typed: list[str], offered: set[str]) -> None:
    answer = subprocess.run(["bash", "-c", TAB, "tab", script, *typed], capture_output=True, text=True, check=False)
    assert (
        answer.returncode == 0 and {word for word in answer.stdout.split() if word not in ("-h", "--help")} == offered
    ), answer.stderr


@pytest.mark.parametrize("words", [["completion"], ["completion", "csh"], ["completion", "bash", "zsh"], ["serach"]])
def test_what_is_no_command_or_shell_is_one_sentence(words: list[str]) -> None:
    answer = said(*words)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1 and "give one of" in answer.stderr
