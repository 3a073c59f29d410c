#!/usr/bin/env bash
# torch 2.13.0, Python 3.11: an eager program that never compiles anything imports the compiler when it makes an optimiser.
#
# The methods of torch.optim.Optimizer are wrapped so that torch.compile leaves them alone. The wrapper imports torch._dynamo
# at its first call, which is `add_param_group`, called by the constructor. So one line, `torch.optim.SGD([weight], lr=0.1)`,
# loads several hundred modules, sympy among them, in every process that trains, whatever the optimiser. Making the same
# object with the methods unwrapped by `inspect.unwrap` loads none of them.
#
# Exits 1 if that is no longer so. Takes some minutes: it installs torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" numpy

cat > "$folder/program.py" << 'PROGRAM'
import inspect
import sys

import torch


class Plain(torch.optim.SGD):
    add_param_group = inspect.unwrap(torch.optim.SGD.add_param_group)


def loaded(make):
    before = set(sys.modules)
    make([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    return set(sys.modules) - before


assert "torch._dynamo" not in sys.modules
unwrapped = loaded(Plain)
wrapped = loaded(torch.optim.SGD)
print(f"modules loaded by the unwrapped constructor: {len(unwrapped)}, by torch's: {len(wrapped)}")
print(f"among torch's: torch._dynamo {'torch._dynamo' in wrapped}, sympy {'sympy' in wrapped}")
as_described = "torch._dynamo" not in unwrapped and {"torch._dynamo", "sympy"} <= wrapped and len(wrapped) > 300
sys.exit(0 if as_described else 1)
PROGRAM

# Seen: modules loaded by the unwrapped constructor: 0, by torch's: 823
#       among torch's: torch._dynamo True, sympy True
"$folder/venv/bin/python" "$folder/program.py"
