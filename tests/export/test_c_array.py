"""The C files compile as C and as C++ and contain the bytes that they were made from."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from asc.export.c_array import c_array

PRINTS = """\
#include <stdint.h>
#include <stdio.h>
#include "model_data.h"
int main(void) {
  if ((uintptr_t)asc_model_data % 16) return 1;
  return fwrite(asc_model_data, 1, ASC_MODEL_DATA_LENGTH, stdout) != ASC_MODEL_DATA_LENGTH;
}
"""


@pytest.mark.parametrize(
    ("compiler", "language"), [("gcc", ["-x", "c", "-std=c11"]), ("g++", ["-x", "c++", "-std=c++11"])]
)
@pytest.mark.parametrize("length", [1, 12, 1000])
def test_a_compiled_array_contains_the_bytes(tmp_path: Path, compiler: str, language: list[str], length: int) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    data = random.Random(length).randbytes(length)
    for name, text in c_array(data, {"labels": "tram??/ in\\", "more": "two\nlines */"}).items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "main.c").write_text(PRINTS)
    sources = [str(tmp_path / "main.c"), str(tmp_path / "model_data.c")]
    warnings = ["-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run([compiler, *language, *warnings, *sources, "-o", str(tmp_path / "main")], check=True)
    assert subprocess.run([tmp_path / "main"], capture_output=True, check=True).stdout == data


def test_the_header_describes_the_array() -> None:
    header = c_array(b"\x00\xff", {"labels": "bus, tram"})["model_data.h"].decode()
    assert header.startswith("// labels: bus, tram\n")
    assert "#define ASC_MODEL_DATA_LENGTH 2\n" in header
