"""The stored form in 16 bits: float16 values, float32 arithmetic, batch norms folded (report, section 4, system 4).

Values are kept as float32 tensors that hold float16 numbers, so that nothing is converted while it runs; the state_dict
is float16, exactly what is stored.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from asc.config import Architecture, Block, FrontEnd
from asc.models.float_layers import FloatConv1x1, FloatConvBnRelu, FloatLinear
from asc.models.layers import (
    Pooling,
    SqueezeExcite,
    StatisticsPool,
    StoredNorm,
    channels_last,
    folded,
    mean_of_map,
)
from asc.models.resnet_se import ResNetSE, check_log_mel
from asc.quant.fake import every
from asc.size import KERNEL, dense_inputs


class HalfBlock(nn.Module):
    """One double conv block with folded batch norms."""

    def __init__(self, block: Block) -> None:
        """Build the layers that `block` describes."""
        super().__init__()
        inputs, width, self.stride = block.in_channels, block.channels, (block.frequency_stride, block.time_stride)
        self.conv1 = nn.Conv2d(inputs, width, KERNEL, self.stride, padding=KERNEL // 2)
        self.conv2 = nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, groups=block.cardinality)
        self.se = SqueezeExcite(width, block.se_bottleneck, norm=StoredNorm(block.se_bottleneck))
        self.skip = nn.Conv2d(inputs, width, 1) if block.has_skip else None

    def forward(self, x: Tensor, pooling: Pooling = mean_of_map) -> Tensor:
        """(batch, in_channels, bins, frames) to (batch, channels, strided bins, strided frames)."""
        y: Tensor = self.se(torch.relu_(self.conv2(torch.relu_(self.conv1(x)))), pooling)
        return y if self.skip is None else y + self.skip(every(x, self.stride))


class HalfNet(nn.Module):
    """The network as it is stored in 16 bits; its state_dict holds exactly the items of `asc.size.stored_items`."""

    def __init__(self, architecture: Architecture, front_end: FrontEnd) -> None:
        """Build the network without values: call `load_state_dict` next, or use `to_half`."""
        super().__init__()
        self.architecture = architecture
        self.front_end = front_end
        self.stem = nn.Conv2d(1, architecture.widths[0], KERNEL, padding=KERNEL // 2)
        self.blocks = nn.ModuleList(HalfBlock(block) for block in architecture.blocks())
        self.pool = StatisticsPool()
        self.dense = nn.Linear(dense_inputs(architecture, front_end), architecture.classes)
        self.register_state_dict_post_hook(_as_float16)  # type: ignore[no-untyped-call]
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes).

        Raises:
            InputError: another shape.
        """
        return self.head(self.statistics(log_mel))

    def raw_logits(self, log_mel: Tensor) -> Tensor:
        """What `forward` gives, as float64 (as the 8-bit form has it, whose logits lie on a grid)."""
        return self(log_mel).double()  # type: ignore[no-any-return]

    @torch.no_grad()
    def statistics(self, log_mel: Tensor) -> Tensor:
        """What the last layer sees: log-mel (batch, 1, mel_bands, frames) to (batch, inputs) (errors as `forward`)."""
        pooled: Tensor = self.pool(self.last_map(log_mel))
        return pooled

    @torch.no_grad()
    def last_map(self, log_mel: Tensor, poolings: Sequence[Pooling] | None = None) -> Tensor:
        """Log-mel as for `forward` to the map (batch, channels, bins, frames) that is pooled over time.

        `poolings`, one a block, stand in for the SE's own means where the log-mel are a part of more (`asc.stream`).

        Raises:
            InputError: another shape.
        """
        check_log_mel(log_mel, self.front_end)
        x = torch.relu_(self.stem(channels_last(log_mel)))
        for block, pooling in zip(self.blocks, poolings or [mean_of_map] * len(self.blocks), strict=True):
            x = block(x, pooling)
        return x

    @torch.no_grad()
    def head(self, pooled: Tensor) -> Tensor:
        """Pooled statistics (batch, inputs) of a `last_map` to logits (batch, classes)."""
        logits: Tensor = self.dense(pooled)
        return logits


def to_half(network: ResNetSE) -> HalfNet:
    """The 16-bit form of a network that was trained without quantisation, on its device.

    Raises:
        ValueError: the network was trained for another storage.
    """
    if network.storage != "float16":
        raise ValueError(f"a network of storage {network.storage} has no 16-bit form")
    half = HalfNet(network.architecture, network.front_end)
    half.load_state_dict({name: to_float16(tensor) for name, tensor in _stored_state(network)}, strict=True)
    return half.to(next(network.parameters()).device)


def _stored_state(network: ResNetSE) -> Iterator[tuple[str, Tensor]]:
    for name, module in network.named_modules():
        match module:
            case FloatConvBnRelu():
                weight, bias = folded(module.conv, module.norm)
                yield f"{name}.weight", weight
                yield f"{name}.bias", bias
            case FloatConv1x1(conv=inner) | FloatLinear(linear=inner):
                assert isinstance(inner, nn.Conv2d | nn.Linear) and inner.bias is not None
                yield f"{name}.weight", inner.weight
                yield f"{name}.bias", inner.bias
            case SqueezeExcite():
                for key, value in module.state_dict(prefix=f"{name}.").items():
                    if not key.endswith("num_batches_tracked"):
                        yield key, value


def to_float16(tensor: Tensor) -> Tensor:
    """The nearest float16 numbers, of any shape; what is beyond their range becomes the largest of them."""
    largest = torch.finfo(torch.float16).max
    return tensor.detach().clamp(-largest, largest).half()


def _as_float16(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[name] = state[name].half()
