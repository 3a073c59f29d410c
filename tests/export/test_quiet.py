"""Notices of converters are dropped; warnings, errors and our own output are kept, however they are written."""

import os
import subprocess
import sys

import pytest

from asc.export.quiet import quiet

SCRIPT = """
import logging, os, sys, warnings
from asc.export.quiet import native_words, quiet
logging.basicConfig(format="%(name)s %(message)s")
try:
    with quiet():
        print("ours, while it runs", file=sys.stderr, flush=True)
        print("progress of the converter")
        with native_words():
            for part in ("[cpuinfo_utils.cpp", ":71] ", "Reading file", "\\n", "an error ", "of native code\\n"):
                print(part, file=sys.stderr, end="")
        print("ours again", file=sys.stderr)
        os.write(2, b"I0000 00:00:1795915208.071227 23569 flatbuffer_export.cc:4410] Estimated count\\n")
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
        os.write(2, b"[cpuinfo_utils.cpp:125] CPU info and manual query on # of cpus dont match.\\n")
        os.write(2, b"[threadpool.cpp:66] Resetting threadpool to 1 threads.\\n")
        os.write(2, b"[threadpool.cpp:70] Failed to make a pool\\n")
        os.write(2, b"[method.cpp:1] Missing operator\\n")
        os.write(2, b"E0000 00:00:1795915208.071227 23569 flatbuffer_export.cc:1] no space\\n")
        os.write(2, b"the last line without an end")
        logging.getLogger("torchao").warning("Failed to load _C_mxfp8.so")
        logging.getLogger("torchao").error("an error of torchao")
        logging.getLogger("torch.export").warning("a warning of torch")
        warnings.warn("`isinstance(treespec, LeafSpec)` is deprecated, use more", FutureWarning)
        warnings.warn("another one", FutureWarning)
        raise OSError("what was raised")
finally:
    logging.getLogger("torchao").warning("and after it all is as before")
    print("result")
"""


def test_only_notices_are_dropped() -> None:
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert finished.returncode == 1 and finished.stdout == "result\n"
    for kept in (
        "ours, while it runs\n",
        "ours again\n",
        "an error of native code\n",
        "[threadpool.cpp:70] Failed to make a pool\n",
        "[method.cpp:1] Missing operator\n",
        "no space\n",
        "the last line without an end",
        "torchao an error of torchao\n",
        "torch.export a warning of torch\n",
        "FutureWarning: another one\n",
        "torchao and after it all is as before\n",
        "OSError: what was raised\n",
    ):
        assert kept in finished.stderr, kept
    for dropped in (
        "Estimated count",
        "XNNPACK",
        "InitializeLog",
        "Failed to load",
        "LeafSpec",
        "cpuinfo_utils",
        "Resetting",
    ):
        assert dropped not in finished.stderr, dropped


def test_a_replaced_standard_error_stays_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("ours", file=sys.stderr)
        os.write(2, b"INFO: a notice\n")
    assert capsys.readouterr().err == "ours\n"
