"""Networks in the formats of other runtimes; the only home of onnx, onnxruntime, ExecuTorch and LiteRT."""
