"""What the converters of ExecuTorch and LiteRT get: a plain torch module of a stored network, in 8 or 16 bits."""

from torch import nn

from asc.export.decomposed import DecomposedNet
from asc.export.float32 import Float32Net
from asc.export.float_parts import Converter
from asc.models.integer import IntegerNet
from asc.models.stored import StoredNet


def graph_of(network: StoredNet, *, converter: Converter) -> nn.Module:
    """Return a module that maps log-mel (batch, 1, mel_bands, frames) to logits (batch, classes), both float32."""
    if isinstance(network, IntegerNet):
        return DecomposedNet(network, converter=converter)
    return Float32Net(network, converter=converter)


def shortest_frames(network: StoredNet) -> int:
    """Return the fewest frames of a clip: two must be left after the strides, as torch specialises a length of one."""
    return 2 * network.topology.time_strides[network.topology.pool.name]
