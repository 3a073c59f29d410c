"""Builds the ONNX file of a stored network, and runs it with onnxruntime.

    data = build_onnx(*load_model(path), source="log_mel")
    OnnxSession(data).logits(log_mel)

https://onnx.ai, https://onnxruntime.ai. The file's metadata holds the labels and the front end. A compact file writes
repeated layers once, as functions, which only onnxruntime runs; other files have no functions.
"""

import copy
import json
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from asc.export.onnx_bytes import ByteAccount, ByteRow, byte_account
from asc.export.onnx_float16 import add_float16
from asc.export.onnx_front_end import add_front_end
from asc.export.onnx_graph import Graph
from asc.export.onnx_int8 import add_int8
from asc.export.onnx_parts import OPSET
from asc.model_file.model_info import ModelInfo
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet

__all__ = ["ByteAccount", "ByteRow", "OnnxSession", "Source", "build_onnx", "byte_account"]
Source = Literal["log_mel", "waveform"]
_LOGITS = "logits"


def build_onnx(network: StoredNet, info: ModelInfo, *, source: Source, compact: bool = False) -> bytes:
    """Return the ONNX file of a network, compact or for every runtime; equal networks give equal bytes.

    The input is `log_mel` (batch, 1, mel_bands, frames) or `waveform` (batch, samples) at the model's own sample rate,
    both float32. The output `logits` is (batch, classes) float32. Batch and length may vary.

    Raises:
        onnx.checker.ValidationError: the graph that was built is not valid.
    """
    graph, front_end = Graph(), network.front_end
    shape = ("batch", 1, front_end.mel_bands, "frames") if source == "log_mel" else ("batch", "samples")
    log_mel = source if source == "log_mel" else add_front_end(graph, front_end, source)
    network = copy.deepcopy(network).cpu()
    if isinstance(network, IntegerNet):
        add_int8(graph, network, log_mel, _LOGITS)
    else:
        add_float16(graph, network, log_mel, _LOGITS)
    outputs = {_LOGITS: ("batch", network.topology.classifier.outputs)}
    model = graph.model({source: shape}, outputs, opset=OPSET, metadata=_metadata(info), compact=compact)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _metadata(info: ModelInfo) -> dict[str, str]:
    """Return what one needs to run the file, as JSON: the labels in the order of the logits, and the front end."""
    said = {"labels": info.labels, "front_end": info.experiment.tree()["front_end"]}
    return {key: json.dumps(value, ensure_ascii=False, separators=(",", ":")) for key, value in said.items()}


class OnnxSession:
    """Runs an ONNX file with onnxruntime on the CPU, with default options except for the number of threads."""

    def __init__(self, data: bytes, *, threads: int = 1) -> None:
        """Load the file; onnxruntime optimises it for this machine, which takes a fraction of a second."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._input: str = self._session.get_inputs()[0].name

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map log-mel (batch, 1, mel_bands, frames) or waveforms (batch, samples) to logits (batch, classes), float32.

        Raises:
            onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument: the shape or type is wrong.
        """
        answer: Any = self._session.run([_LOGITS], {self._input: x})[0]
        return answer  # type: ignore[no-any-return]
