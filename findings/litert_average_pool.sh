#!/usr/bin/env bash
# litert-torch 0.10.0 (litert-converter 0.5.0, ai-edge-litert 2.3.0), torch 2.13.0, Python 3.11: an average pool between two
# grids clips its input.
#
# A module quantises its input to int8, takes the mean of 3 x 3 values in float, and quantises the mean to a finer grid, as it
# may: means are smaller than values. AVERAGE_POOL_2D of LiteRT needs one grid for input and output, so the converter puts a
# QUANTIZE to the *output's* grid before the pool. Values beyond the range of that grid are clipped before they are averaged,
# and the mean is far too small. torch runs the same module right, nothing is said, and noise of small values shows no error
# at all. A pool whose output has the grid of its input is converted rightly.
#
# Exits 1 if that is no longer so. Takes some minutes: it installs torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "torch==2.13.0" "litert-torch==0.10.0" "litert-converter==0.5.0" "ai-edge-litert==2.3.0" "torchao==0.18.0"

cat > "$folder/program.py" << 'PROGRAM'
import importlib

import torch
from torch import nn
from torch.nn import functional

importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the operators
STEP_IN, STEP_OUT = 0.08, 0.02  # ranges of +-10 and +-2.5


def grid(x, step):
    operators = torch.ops.quantized_decomposed
    arguments = (step, 0, -128, 127, torch.int8)
    return operators.dequantize_per_tensor(operators.quantize_per_tensor(x, *arguments), *arguments)


class Pool(nn.Module):
    def forward(self, x):
        return grid(functional.avg_pool2d(grid(x, STEP_IN), 3, 1, 1), STEP_OUT)


def converted(x):
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    quantiser = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    model = litert_torch.convert(Pool().eval(), (x,), quant_config=QuantConfig(pt2e_quantizer=quantiser))
    interpreter = Interpreter(model_content=bytes(model.model_content()))
    interpreter.allocate_tensors()
    [one], [other] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(one["index"], (x / STEP_IN).round().to(torch.int8).numpy())
    interpreter.invoke()
    found = torch.from_numpy(interpreter.get_tensor(other["index"])) * STEP_OUT
    return found, [operation["op_name"] for operation in interpreter._get_ops_details()]


x = torch.zeros(1, 1, 5, 5)
x[..., 2, 2] = 8.0
found, operators = converted(x)
print("RESULT", f"torch {Pool()(x)[0, 0, 2, 2]:.2f}, LiteRT {found[0, 0, 2, 2]:.2f}, operators", *operators)
PROGRAM

"$folder/venv/bin/python" "$folder/program.py" 2> "$folder/noise" | grep RESULT | tee "$folder/said"
grep -q "torch 0.88, LiteRT 0.28, .*QUANTIZE AVERAGE_POOL_2D" "$folder/said"
# Output seen:
# RESULT torch 0.88, LiteRT 0.28, operators RESHAPE PAD QUANTIZE AVERAGE_POOL_2D RESHAPE DELEGATE DELEGATE
