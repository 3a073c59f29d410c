#!/usr/bin/env bash
# torch 2.13.0, CPU: `fused=True` of Adam, AdamW and SGD updates the wrong weights, without a word, where a weight and its gradient or
# moments have different memory layouts.
#
# The fused kernels walk through weight, gradient and moments in the order of memory and ignore their strides. The default and the
# foreach implementations do not, and the fused kernels for CUDA raise an error (pytorch/pytorch#110758). A convolution's weight in
# channels_last usually has a gradient in the same layout, and moments are made like the weight, so a training is right at first.
# But a file format without strides (safetensors, NumPy) gives contiguous moments back, `load_state_dict` takes them as they are, and
# from then on each weight is moved by the moments of another. A gradient that a custom autograd function returns contiguous has
# the same effect. Whoever sets fused=True on CPU should lay gradients and loaded moments out like their weights.
#
# Exits 1 if the fused optimisers agree with the default ones for all layouts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"

cat > "$folder/layouts.py" << 'PROGRAM'
import sys

import torch

LAST, PLAIN = torch.channels_last, torch.contiguous_format
KINDS = {
    "Adam": lambda weights, fused: torch.optim.Adam(weights, lr=0.1, eps=1.0, fused=fused),
    "AdamW": lambda weights, fused: torch.optim.AdamW(weights, lr=0.1, eps=1.0, fused=fused),
    "SGD": lambda weights, fused: torch.optim.SGD(weights, lr=0.1, momentum=0.9, fused=fused),
}
GRADIENT = torch.arange(24.0).reshape(2, 3, 2, 2) - 11.5


def trained(kind, *, fused, gradient=LAST, moments=LAST):
    """Two steps of a weight in channels_last; between them the moments are stored and loaded."""
    weight = torch.nn.Parameter(torch.zeros(2, 3, 2, 2).contiguous(memory_format=LAST))
    optimiser = KINDS[kind]([weight], fused)
    for _ in range(2):
        weight.grad = GRADIENT.contiguous(memory_format=gradient)
        optimiser.step()
        loaded = optimiser.state_dict()
        for state in loaded["state"].values():
            for name, value in state.items():
                if torch.is_tensor(value) and value.dim() == 4:
                    state[name] = value.contiguous(memory_format=moments)
        optimiser.load_state_dict(loaded)
    return weight.detach()


wrong = 0
for kind in KINDS:
    for case in ({}, {"gradient": PLAIN}, {"moments": PLAIN}):
        apart = (trained(kind, fused=True, **case) - trained(kind, fused=False, **case)).abs().max().item()
        wrong += apart > 1e-3
        print(f"{kind}, contiguous: {', '.join(case) or 'nothing'}: {apart:.4f} apart")
sys.exit(wrong < 6)
PROGRAM
"$folder/venv/bin/python" "$folder/layouts.py"
# Seen: "Adam, contiguous: gradient: 0.0436 apart", "Adam, contiguous: moments: 0.0116 apart", "SGD, contiguous: gradient: 1.2000 apart".
