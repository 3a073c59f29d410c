"""The residual network with squeeze-and-excitation of the report (section 2.3, figures 1 to 3), for training.

He et al. 2015, https://arxiv.org/abs/1512.03385; Hu et al. 2017, https://arxiv.org/abs/1709.01507; Xie et al. 2017 for
grouped convolutions, https://arxiv.org/abs/1611.05431. What is stored in 8 bits is trained fake-quantised, with SE and
the statistics pooling in float (report, section 4); what is stored in 16 bits is trained in float throughout.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from asc.config import Architecture, Block, FrontEnd, Storage
from asc.errors import InputError
from asc.models.batch_norm import BatchNorm1d, BatchNorm2d
from asc.models.float_layers import FloatConv1x1, FloatConvBnRelu, FloatLinear, NoGrid
from asc.models.layers import SqueezeExcite, StatisticsPool, channels_last
from asc.quant.fake import ActivationQuantiser, ConvBnRelu, QuantConv1x1, QuantLinear
from asc.size import dense_inputs
from asc.workers import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """The layers that a network is built of; those of both kinds take the same arguments."""

    conv_bn_relu: type[ConvBnRelu] | type[FloatConvBnRelu]
    conv1x1: type[QuantConv1x1] | type[FloatConv1x1]
    linear: type[QuantLinear] | type[FloatLinear]
    grid: type[ActivationQuantiser] | type[NoGrid]


QUANTISED = Layers(conv_bn_relu=ConvBnRelu, conv1x1=QuantConv1x1, linear=QuantLinear, grid=ActivationQuantiser)
FLOAT = Layers(conv_bn_relu=FloatConvBnRelu, conv1x1=FloatConv1x1, linear=FloatLinear, grid=NoGrid)


class DoubleConvBlock(nn.Module):
    """Two 3x3 convolutions, the first one dense and strided, the second one grouped; SE; a projected skip."""

    def __init__(self, block: Block, layers: Layers) -> None:
        """Build the layers that `block` describes."""
        super().__init__()
        width, stride = block.channels, (block.frequency_stride, block.time_stride)
        self.conv1 = layers.conv_bn_relu(block.in_channels, width, stride=stride)
        self.conv2 = layers.conv_bn_relu(width, width, groups=block.cardinality)
        self.se = SqueezeExcite(width, block.se_bottleneck, norm=BatchNorm1d(block.se_bottleneck))
        self.se_output = layers.grid(nonnegative=True)
        self.skip = layers.conv1x1(block.in_channels, width, stride=stride) if block.has_skip else None
        self.add = layers.grid() if block.has_skip else None

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """(batch, in_channels, bins, frames) to (batch, channels, ceil(bins / stride), ceil(frames / stride))."""
        convolved = self.conv2(self.conv1(x, input_scale), self.conv1.output.scale)
        y: Tensor = self.se_output(self.se(convolved))
        if self.skip is None or self.add is None:
            return y
        added: Tensor = self.add(y + self.skip(x, input_scale))
        return added

    @property
    def output_scale(self) -> Tensor:
        """The step () of the block's output."""
        return self.se_output.scale if self.add is None else self.add.scale


class ResNetSE(nn.Module):
    """Log-mel in, logits out. Batch norm and observers can be frozen; that is part of the state_dict."""

    blocks: nn.ModuleList
    batch_norm_frozen: Tensor
    observers_frozen: Tensor

    def __init__(self, architecture: Architecture, front_end: FrontEnd, storage: Storage = "int8") -> None:
        """Build an untrained network; its weights come from torch's global generator (see `build_network`)."""
        super().__init__()
        self.architecture = architecture
        self.front_end = front_end
        self.storage = storage
        layers = QUANTISED if storage == "int8" else FLOAT
        self.input = layers.grid()
        self.stem = layers.conv_bn_relu(1, architecture.widths[0])
        self.blocks = nn.ModuleList(DoubleConvBlock(block, layers) for block in architecture.blocks())
        self.pool = StatisticsPool()
        self.pool_output = layers.grid()
        self.dense = layers.linear(dense_inputs(architecture, front_end), architecture.classes)
        self.register_buffer("batch_norm_frozen", torch.tensor(False))
        self.register_buffer("observers_frozen", torch.tensor(False))
        self.register_load_state_dict_post_hook(_restore_switches)  # type: ignore[no-untyped-call]

    def forward(self, log_mel: Tensor) -> Tensor:
        """Log-mel (batch, 1, mel_bands, frames), float32, to logits (batch, classes).

        Raises:
            InputError: another shape.
            RuntimeError: in eval mode, if no batch was ever seen in training mode.
        """
        check_log_mel(log_mel, self.front_end)
        x = self.stem(channels_last(self.input(log_mel)), self.input.scale)
        scale = self.stem.output.scale
        for block in self.double_conv_blocks():
            x = block(x, scale)
            scale = block.output_scale
        statistics = self.pool_output(self.pool(x))
        logits: Tensor = self.dense(statistics, self.pool_output.scale)
        return logits

    def double_conv_blocks(self) -> list[DoubleConvBlock]:
        """The blocks in order."""
        return [block for block in self.blocks if isinstance(block, DoubleConvBlock)]

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; a frozen batch norm stays frozen."""
        super().train(mode)
        self._set_switches()
        return self

    def freeze_batch_norm(self) -> None:
        """Keep the statistics of all batch norms as they are from now on; convolutions are folded in training too."""
        self.batch_norm_frozen.fill_(True)
        self._set_switches()

    def freeze_observers(self) -> None:
        """Keep the ranges of all activations as they are from now on.

        Raises:
            RuntimeError: no batch was seen yet, so there is nothing to keep.
        """
        for quantiser in self._quantisers():
            quantiser.require_range()
        self.observers_frozen.fill_(True)
        self._set_switches()

    def share(self, workers: Workers) -> None:
        """Take the statistics of batch norms and the ranges of activations over the rows of these workers."""
        for module in self.modules():
            if isinstance(module, BatchNorm1d | BatchNorm2d | ActivationQuantiser):
                module.workers = workers

    def _set_switches(self) -> None:
        norm_trains = self.training and not bool(self.batch_norm_frozen)
        observing = not bool(self.observers_frozen)
        for module in self.modules():
            if isinstance(module, BatchNorm1d | BatchNorm2d):
                module.training = norm_trains
            elif isinstance(module, ActivationQuantiser):
                module.observing = observing

    def _quantisers(self) -> list[ActivationQuantiser]:
        return [module for module in self.modules() if isinstance(module, ActivationQuantiser)]


def _restore_switches(network: nn.Module, incompatible_keys: object) -> None:
    """Bring layers in line with a state that was just loaded."""
    assert isinstance(network, ResNetSE)
    for quantiser in network._quantisers():
        quantiser.forget_check()
    network._set_switches()


def check_log_mel(log_mel: Tensor, front_end: FrontEnd) -> None:
    """Check that features have the shape (batch, 1, mel_bands, frames).

    Raises:
        InputError: another number of dimensions, channels or bands.
    """
    if log_mel.dim() != 4 or log_mel.shape[1] != 1 or log_mel.shape[2] != front_end.mel_bands or not log_mel.shape[3]:
        raise InputError(
            f"the network takes log-mel of shape (batch, 1, {front_end.mel_bands}, frames), got "
            f"{tuple(log_mel.shape)}: compute it with the front end of the network's config"
        )
