#!/usr/bin/env bash
# rich 15.0.0, Python 3.11: a console on standard error whose reader has gone closes standard output.
#
# `Console(stderr=True)` is what programs show progress with, while results go to standard output. Where standard error
# is a pipe whose reader has gone, the next `print` points standard *output* at /dev/null and raises SystemExit(1): no
# exception that names the pipe, no message, and results that were still to be printed are nowhere. The documentation
# says that the default is "to exit the app"; it does not say that the other stream goes.
#
# Exits 1 if that is no longer so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "rich==15.0.0"

cat > "$folder/program.py" << 'PROGRAM'
import os, sys
from rich.console import Console

read, write = os.pipe()
os.close(read)
os.dup2(write, 2)  # standard error is a pipe that nobody reads
ended = "it went on"
try:
    Console(stderr=True).print("progress")
except SystemExit as stop:
    ended = f"SystemExit({stop.code})"
except BrokenPipeError:
    ended = "BrokenPipeError"
where = os.readlink("/proc/self/fd/1")
os.write(1, b"the result\n")
with open(sys.argv[1], "w") as report:
    report.write(f"{ended}; standard output is now {where}\n")
PROGRAM

"$folder/venv/bin/python" "$folder/program.py" "$folder/report" > "$folder/out"
echo "said: $(cat "$folder/report")"
echo "standard output got $(stat -c %s "$folder/out") bytes of 11"
[ "$(cat "$folder/report")" = "SystemExit(1); standard output is now /dev/null" ] && [ ! -s "$folder/out" ]
# Output seen:
# said: SystemExit(1); standard output is now /dev/null
# standard output got 0 bytes of 11
