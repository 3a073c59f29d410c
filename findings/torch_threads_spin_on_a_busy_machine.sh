#!/usr/bin/env bash
# torch 2.13.0, its own wheel for Linux: with two threads, a small training step takes many times as long on a busy machine as
# it does if waiting threads sleep.
#
# torch's wheel brings GNU's OpenMP. Its threads meet at the end of each operation, and by default the one that is first spins
# until the other comes. Where another program has the other core, it spins through its own share of time, at each of
# hundreds of operations. OMP_WAIT_POLICY=passive, read when torch is imported, lets it sleep, and its core go to the thread
# that everybody waits for. The same step then takes as long as two threads can hope for. Several trainings at a time on one
# machine, or tests beside a training, are enough to be hit.
#
# Here every core runs a busy loop beside the step. Exits 1 if spinning is less than twice as slow as sleeping. Takes some
# minutes: it installs torch.
set -euo pipefail
folder=$(mktemp -d)
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" numpy

cat > "$folder/step.py" << 'PROGRAM'
import statistics
import time

import torch

torch.set_num_threads(2)
layers = []
for _ in range(6):
    layers += [torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU()]
network = torch.nn.Sequential(*layers)
maps = torch.randn(4, 32, 32, 32)
seconds = []
for _ in range(15):
    began = time.monotonic()
    network(maps).sum().backward()
    seconds.append(time.monotonic() - began)
print(statistics.median(seconds[3:]))
PROGRAM

busy=()
trap 'kill "${busy[@]}" 2> /dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq "$(nproc)"); do
    python3 -c "while True: pass" &
    busy+=($!)
done
spinning=$(env -u OMP_WAIT_POLICY "$folder/venv/bin/python" "$folder/step.py")
sleeping=$(OMP_WAIT_POLICY=passive "$folder/venv/bin/python" "$folder/step.py")
# Seen, on two cores: a step with two threads: 0.573 s spinning, 0.093 s sleeping, 6.2 times as long
#       with ten other programs beside the loops: 9.221 s spinning, 0.030 s sleeping, 307.3 times as long
python3 - "$spinning" "$sleeping" << 'PROGRAM'
import sys

spinning, sleeping = (float(seconds) for seconds in sys.argv[1:])
print(f"a step with two threads: {spinning:.3f} s spinning, {sleeping:.3f} s sleeping, {spinning / sleeping:.1f} times as long")
sys.exit(0 if spinning > 2 * sleeping else 1)
PROGRAM
