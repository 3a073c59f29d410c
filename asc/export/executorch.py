"""A network as an ExecuTorch program for XNNPACK (https://docs.pytorch.org/executorch/stable/backends-xnnpack.html).

Of 8-bit networks, convolutions, linear layers and additions become XNNPACK's 8-bit operators; SE and pooling become its
float operators. Networks stored in 16 bits run in float32, and their weights take 32 bits in the file: XNNPACK has
float16 weights for float16 arithmetic only, in which logits would be others.
Clips may have any length up to a maximum, for which ExecuTorch plans its memory. Needs the extra `executorch`.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from asc.export.graph import graph_of, shortest_frames
from asc.export.quiet import native_words, quiet
from asc.models.stored import StoredNet


def build_executorch(network: StoredNet, *, longest_frames: int) -> bytes:
    """Return the .pte file of a network: log-mel (1, 1, mel_bands, frames) to logits (1, classes), both float32.

    `frames` may be from `asc.export.graph.shortest_frames` to `longest_frames`.
    """
    example = torch.zeros(1, 1, network.front_end.mel_bands, longest_frames)
    frames = torch.export.Dim("frames", min=shortest_frames(network), max=longest_frames)
    module = graph_of(network, converter="executorch")
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        exported = torch.export.export(module, (example,), dynamic_shapes=({3: frames},))
        lowered = to_edge_transform_and_lower(
            exported,
            partitioner=[XnnpackPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),  # Q/DQ are not core operators
        )
        return bytes(lowered.to_executorch().buffer)


class ExecutorchSession:
    """Runs a program in this process."""

    def __init__(self, data: bytes) -> None:
        """Load a .pte file from memory, to run on one thread."""
        self._data = data  # kept alive: the program points into it
        with quiet():
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime

            with native_words():
                portable_lib._unsafe_reset_threadpool(1)
            self._method = Runtime.get().load_program(data).load_method("forward")

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map log-mel (1, 1, mel_bands, frames) float32, natural log, to logits (1, classes) float32."""
        found: NDArray[np.float32] = self._method.execute([torch.from_numpy(x)])[0].numpy().copy()
        return found
