"""The exact integer form: what is stored, evaluated with integer arithmetic (Jacob et al. 2017, arXiv:1712.05877).

Integers are carried in float tensors: float32 is exact while no sum can reach 2^24, which is checked for each layer;
float64 is taken otherwise, and always on a GPU, whose float32 convolutions may be TF32 or Winograd. Layers hand each
other steps with the zero point taken off, so that zero padding is exact. SE and the statistics pooling are in float.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc.config import Architecture, Block, FrontEnd
from asc.models.layers import Pooling, SqueezeExcite, StatisticsPool, StoredNorm, channels_last, mean_of_map
from asc.models.resnet_se import ResNetSE, check_log_mel
from asc.quant.fake import STEPS, ActivationQuantiser, ConvBnRelu, QuantConv1x1, QuantLinear, every
from asc.size import KERNEL, dense_inputs

EXACT_IN_FLOAT32 = 2**24


class IntegerQuantiser(nn.Module):
    """A stored activation grid: float32 scale, int32 zero point."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self) -> None:
        """Build the buffers; their values come from a state_dict."""
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Float values to steps of the same shape, zero point taken off."""
        return self.settle(torch.mul(x, self.scale.reciprocal()))

    def settle(self, steps: Tensor) -> Tensor:
        """Round steps that are not yet whole and clamp them to 8 bits, in place."""
        zero_point = int(self.zero_point)
        return steps.round_().clamp_(-zero_point, STEPS - zero_point)

    def dequantise(self, steps: Tensor) -> Tensor:
        """Steps to float values."""
        return steps * self.scale


class IntegerLayer(nn.Module):
    """A convolution or linear layer of int8 weights, int32 biases and a requantised output.

    A ReLU needs no operation of its own: the output's zero point is 0 then, and clamping to 8 bits does it.
    """

    weight: Tensor
    bias: Tensor
    weight_scale: Tensor

    def __init__(self, shape: tuple[int, ...], *, stride: tuple[int, int] = (1, 1), groups: int = 1) -> None:
        """`shape` is that of the weight: (outputs, inputs / groups, rows, columns), or (outputs, inputs) if linear."""
        super().__init__()
        self.stride = stride
        self.groups = groups
        self.register_buffer("weight", torch.zeros(shape, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(shape[0], dtype=torch.int32))
        self.register_buffer("weight_scale", torch.ones(shape[0]))
        self.output = IntegerQuantiser()

    def forward(self, steps: Tensor, input_scale: Tensor) -> Tensor:
        """Input steps (batch, inputs, ...) to output steps (batch, outputs, ...).

        The multiplier is weight scale x input scale / output scale, in float32 as the fake-quantised form has it.
        """
        factor = self.weight_scale.double() * input_scale.double() / self.output.scale.double()
        sums = self.accumulate(steps).round_().to(torch.float32)
        return self.output.settle(sums.mul_(factor.float().view(-1, *[1] * (sums.dim() - 2))))

    def accumulate(self, steps: Tensor) -> Tensor:
        """The exact sums of integer products and bias, as float32 or float64."""
        dtype = torch.float64 if steps.is_cuda or self.largest_sum() >= EXACT_IN_FLOAT32 else torch.float32
        bias = self.bias.to(dtype)
        if self.weight.dim() == 2:
            return functional.linear(steps.to(dtype), self.weight.to(dtype), bias)
        weight = self.weight.to(dtype, memory_format=torch.channels_last)
        if self.weight.shape[2] == 1:
            return functional.conv2d(every(steps.to(dtype), self.stride), weight, bias)
        return functional.conv2d(steps.to(dtype), weight, bias, self.stride, KERNEL // 2, 1, self.groups)

    def real(self, input_scale: Tensor) -> tuple[Tensor, Tensor]:
        """The float64 weight and bias that the integers stand for, behind an input of this step."""
        scale = self.weight_scale.double()
        return self.weight.double() * scale.view(-1, *[1] * (self.weight.dim() - 1)), self.bias * scale * input_scale

    def largest_sum(self) -> int:
        """No partial sum of any output can be larger than this, whatever the input."""
        magnitudes = self.weight.to(torch.int64).abs().flatten(1).sum(1) * STEPS + self.bias.to(torch.int64).abs()
        return int(magnitudes.max())


class IntegerBlock(nn.Module):
    """The integer form of one double conv block."""

    def __init__(self, block: Block) -> None:
        """Build the layers that `block` describes."""
        super().__init__()
        inputs, width, stride = block.in_channels, block.channels, (block.frequency_stride, block.time_stride)
        self.conv1 = IntegerLayer((width, inputs, KERNEL, KERNEL), stride=stride)
        self.conv2 = IntegerLayer((width, width // block.cardinality, KERNEL, KERNEL), groups=block.cardinality)
        self.se = SqueezeExcite(width, block.se_bottleneck, norm=StoredNorm(block.se_bottleneck))
        self.se_output = IntegerQuantiser()
        self.skip = IntegerLayer((width, inputs, 1, 1), stride=stride) if block.has_skip else None
        self.add = IntegerQuantiser() if block.has_skip else None

    def forward(self, steps: Tensor, input_scale: Tensor, pooling: Pooling = mean_of_map) -> Tensor:
        """Steps (batch, in_channels, bins, frames) to steps (batch, channels, strided bins, strided frames)."""
        inner = self.conv2(self.conv1(steps, input_scale), self.conv1.output.scale)
        y: Tensor = self.se_output(self.se(self.conv2.output.dequantise(inner), pooling))
        if self.skip is None or self.add is None:
            return y
        skip = self.skip.output.dequantise(self.skip(steps, input_scale))
        added: Tensor = self.add(self.se_output.dequantise(y) + skip)
        return added

    @property
    def output_quantiser(self) -> IntegerQuantiser:
        """The grid of the block's output."""
        return self.se_output if self.add is None else self.add


class IntegerNet(nn.Module):
    """The network as it is stored and shipped; its state_dict holds exactly the items of `asc.size.stored_items`."""

    def __init__(self, architecture: Architecture, front_end: FrontEnd) -> None:
        """Build the network without values: call `load_state_dict` next, or use `to_integer`."""
        super().__init__()
        self.architecture = architecture
        self.front_end = front_end
        self.input = IntegerQuantiser()
        self.stem = IntegerLayer((architecture.widths[0], 1, KERNEL, KERNEL))
        self.blocks = nn.ModuleList(IntegerBlock(block) for block in architecture.blocks())
        self.pool = StatisticsPool()
        self.pool_output = IntegerQuantiser()
        self.dense = IntegerLayer((architecture.classes, dense_inputs(architecture, front_end)))
        self.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes) on the grid of the last layer.

        Raises:
            InputError: another shape.
        """
        return self.logits(self.statistics(log_mel))

    @torch.no_grad()
    def statistics(self, log_mel: Tensor) -> Tensor:
        """Log-mel as for `forward` to the steps (batch, inputs) that the last layer is given, zero point taken off.

        Networks that differ in their last layer alone share them.

        Raises:
            InputError: another shape.
        """
        steps: Tensor = self.pool_output(self.pool(self.last_map(log_mel)))
        return steps

    @torch.no_grad()
    def last_map(self, log_mel: Tensor, poolings: Sequence[Pooling] | None = None) -> Tensor:
        """Log-mel as for `forward` to the map (batch, channels, bins, frames) that is pooled over time, in float.

        `poolings`, one a block, stand in for the SE's own means where the log-mel are a part of more (`asc.stream`).

        Raises:
            InputError: another shape.
        """
        check_log_mel(log_mel, self.front_end)
        steps = self.stem(channels_last(self.input(log_mel)), self.input.scale)
        quantiser = self.stem.output
        blocks = self.integer_blocks()
        for block, pooling in zip(blocks, poolings or [mean_of_map] * len(blocks), strict=True):
            steps = block(steps, quantiser.scale, pooling)
            quantiser = block.output_quantiser
        return quantiser.dequantise(steps)

    @torch.no_grad()
    def head(self, pooled: Tensor) -> Tensor:
        """Pooled statistics (batch, inputs) of a `last_map`, in float, to logits (batch, classes)."""
        return self.logits(self.pool_output(pooled))

    @torch.no_grad()
    def logits(self, statistics: Tensor) -> Tensor:
        """Steps (batch, inputs) of `statistics` to logits (batch, classes) on the grid of the last layer."""
        return self.dense.output.dequantise(self.dense(statistics, self.pool_output.scale))

    @torch.no_grad()
    def raw_logits(self, log_mel: Tensor) -> Tensor:
        """Log-mel as for `forward` to float64 logits (batch, classes) before they are put on the grid: for calibration.

        Raises:
            InputError: another shape.
        """
        sums = self.dense.accumulate(self.statistics(log_mel)).double()
        return sums * self.dense.weight_scale.double() * self.pool_output.scale.double()

    def integer_blocks(self) -> list[IntegerBlock]:
        """The blocks in order."""
        return [block for block in self.blocks if isinstance(block, IntegerBlock)]


def to_integer(network: ResNetSE) -> IntegerNet:
    """The integer form of a trained network, on its device; equal to its eval mode but for the rounding of float sums.

    Raises:
        RuntimeError: an activation quantiser of the network never saw a batch.
        ValueError: the network was trained without quantisation.
    """
    if network.storage != "int8":
        raise ValueError(f"a network of storage {network.storage} has no integer form")
    integer = IntegerNet(network.architecture, network.front_end)
    integer.load_state_dict(dict(_stored_state(network)), strict=True)
    return integer.to(network.input.scale.device)


def _stored_state(network: ResNetSE) -> Iterator[tuple[str, Tensor]]:
    for name, module in network.named_modules():
        if isinstance(module, ActivationQuantiser):
            module.require_range()
            yield f"{name}.scale", module.scale
            yield f"{name}.zero_point", module.zero_point
        elif isinstance(module, SqueezeExcite):
            for key, value in module.state_dict(prefix=f"{name}.").items():
                if not key.endswith("num_batches_tracked"):
                    yield key, value
    for name, layer, input_scale in _layers(network):
        stored = layer.stored(input_scale)
        yield f"{name}.weight", stored.weight
        yield f"{name}.bias", stored.bias
        yield f"{name}.weight_scale", stored.weight_scale


def _layers(network: ResNetSE) -> Iterator[tuple[str, ConvBnRelu | QuantConv1x1 | QuantLinear, Tensor]]:
    """Every quantised layer with its name and the step of its input."""
    inputs = {"stem": network.input.scale, "dense": network.pool_output.scale}
    scale = network.stem.output.scale
    for index, block in enumerate(network.double_conv_blocks()):
        inputs |= {f"blocks.{index}.conv1": scale, f"blocks.{index}.conv2": block.conv1.output.scale}
        inputs[f"blocks.{index}.skip"] = scale
        scale = block.output_scale
    for name, module in network.named_modules():
        if isinstance(module, ConvBnRelu | QuantConv1x1 | QuantLinear):
            yield name, module, inputs[name]
