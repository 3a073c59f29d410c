"""Exports of a stored network to other runtimes; onnx, onnxruntime, executorch and LiteRT are imported nowhere else."""
