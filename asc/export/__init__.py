"""Exports stored networks to other runtimes. Only this package imports onnx, onnxruntime, executorch and LiteRT."""
