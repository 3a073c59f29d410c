"""The network's part of an experiment: its family, and the keys of each family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from asc.errors import require
from asc.typed import widen

BcHead = Literal["scene", "keyword"]
BcNorm = Literal["sub_spectral", "batch"]
BcResidualNorm = Literal["none", "input", "stages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpMobile:
    """CP-Mobile; the defaults are the DCASE 2024 and 2025 baseline (see `asc.topology.cp_mobile`).

    Stage n (from 0) has base_channels x channels_multiplier^n channels, and blocks expand theirs by expansion_rate.
    Both are rounded to multiples of 8. Each block has its strides. `kernel` is the size of the depthwise convolutions.
    """

    base_channels: int = 32
    channels_multiplier: float = 1.8
    expansion_rate: float = 2.1
    depths: tuple[int, ...] = (3, 2, 1)
    frequency_strides: tuple[int, ...] = (1, 1, 1, 2, 1, 1)
    time_strides: tuple[int, ...] = (1, 1, 2, 1, 1, 1)
    kernel: int = 3

    def __post_init__(self) -> None:
        """Check ranges and that the values fit together."""
        widen(self)
        name = "architecture.cp_mobile"
        require(
            8 <= self.base_channels <= 4096,
            f"{name}.base_channels must lie between 8 and 4,096, got {self.base_channels}",
        )
        for key in ("channels_multiplier", "expansion_rate"):
            value = getattr(self, key)
            require(1 <= value <= 16, f"{name}.{key} must lie between 1 and 16, got {value}")
        require(
            len(self.depths) >= 1 and min(self.depths) >= 1,
            f"{name}.depths must hold values of at least 1, got {list(self.depths)}",
        )
        for key in ("frequency_strides", "time_strides"):
            strides = getattr(self, key)
            require(
                len(strides) == sum(self.depths),
                f"{name}.{key} has {len(strides)} values, but {name}.depths has {sum(self.depths)} blocks",
            )
            require(all(1 <= s <= 8 for s in strides), f"{name}.{key} must lie between 1 and 8, got {list(strides)}")
        require(self.kernel in (3, 5, 7), f"{name}.kernel must be 3, 5 or 7, got {self.kernel}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BcResNet:
    """BC-ResNet; the defaults are BC-ResNet-ASC (see `asc.topology.bc_resnet`).

    Stage n (from 0) has base_channels x (1 + n / 2) channels, the stem twice the base channels. Each stage has a depth
    (blocks), a stride in frequency (of its first block), a dilation in time, and the size of the max pool after it (1:
    no pool). `stem_strides` are (frequency, time). The norm of the depthwise convolutions over frequency is a batch
    norm or sub-spectral, with `bands` bands. `residual_norm` says where residual normalisation stands: nowhere, at the
    input, or at the input and after each stage; `shortcut` is the share of the input that it adds.
    """

    base_channels: int = 80
    head: BcHead = "scene"
    stem_strides: tuple[int, ...] = (2, 2)
    depths: tuple[int, ...] = (2, 2, 2, 3)
    frequency_strides: tuple[int, ...] = (1, 1, 1, 1)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    pools: tuple[int, ...] = (2, 2, 1, 1)
    norm: BcNorm = "sub_spectral"
    bands: int = 4
    residual_norm: BcResidualNorm = "stages"
    shortcut: float = 0.1

    def __post_init__(self) -> None:
        """Check ranges and that the values fit together."""
        widen(self)
        name = "architecture.bc_resnet"
        require(
            4 <= self.base_channels <= 4096,
            f"{name}.base_channels must lie between 4 and 4,096, got {self.base_channels}",
        )
        require(
            len(self.depths) >= 1 and min(self.depths) >= 1,
            f"{name}.depths must hold values of at least 1, got {list(self.depths)}",
        )
        require(
            len(self.stem_strides) == 2 and all(1 <= s <= 8 for s in self.stem_strides),
            f"{name}.stem_strides must be two values between 1 and 8, got {list(self.stem_strides)}",
        )
        for key, most in (("frequency_strides", 8), ("dilations", 64), ("pools", 8)):
            values = getattr(self, key)
            require(
                len(values) == len(self.depths),
                f"{name}.{key} has {len(values)} values, but {name}.depths has {len(self.depths)} stages",
            )
            require(
                all(1 <= v <= most for v in values), f"{name}.{key} must lie between 1 and {most}, got {list(values)}"
            )
        require(1 <= self.bands <= 64, f"{name}.bands must lie between 1 and 64, got {self.bands}")
        require(0 <= self.shortcut <= 1, f"{name}.shortcut must lie between 0 and 1, got {self.shortcut}")


Family = Literal["resnet_se", "cp_mobile", "bc_resnet"]
Kernel = Literal["3x3", "1x3+3x1"]
SeStages = Literal["all", "last", "none"]
ResidualNormPlaces = Literal["none", "stages"]
FAMILY_KEYS: Mapping[Family, tuple[str, ...]] = {
    "resnet_se": (
        "widths",
        "depths",
        "se_bottlenecks",
        "frequency_strides",
        "time_strides",
        "cardinality",
        "kernel",
        "stem_kernel",
        "se_stages",
        "residual_norm",
        "residual_norm_lambda",
    ),
    "cp_mobile": ("cp_mobile",),
    "bc_resnet": ("bc_resnet",),
}
"""The keys of `Architecture` that only one family reads."""


def family_of(key: str) -> str | None:
    """The family that alone has a dotted config key, or None if all have it."""
    section, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    owners = (family for family, keys in FAMILY_KEYS.items() if section == "architecture" and name in keys)
    return next(owners, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What the network is built of: `family`, `classes`, and the keys of the family.

    `cp_mobile` and `bc_resnet` are the families of these names. All other keys are those of `resnet_se`, the residual
    network with squeeze-and-excitation (report, section 2.3): each stage has a width (channels), a depth (double conv
    blocks) and an SE bottleneck, and each block has its strides. These were added to the report's network:

    - `kernel`: "3x3", or "1x3+3x1", a pair of convolutions (bins x frames) in place of each one of 3x3 in a block.
    - `stem_kernel`: the input convolution is 3x3 or 5x5.
    - `se_stages`: the stages that have SE. A bottleneck of a stage without SE has no effect.
    - `residual_norm`: "stages" puts a residual normalisation after the input convolution and after each stage but the
      last; `residual_norm_lambda` is the factor of its shortcut.
    """

    family: Family = "resnet_se"
    widths: tuple[int, ...] = (24, 48)
    depths: tuple[int, ...] = (3, 3)
    se_bottlenecks: tuple[int, ...] = (4, 8)
    frequency_strides: tuple[int, ...] = (2, 2, 1, 2, 1, 1)
    time_strides: tuple[int, ...] = (2, 2, 1, 2, 1, 1)
    cardinality: int = 4
    classes: int = 10
    cp_mobile: CpMobile = CpMobile()
    kernel: Kernel = "3x3"
    stem_kernel: int = 3
    se_stages: SeStages = "all"
    residual_norm: ResidualNormPlaces = "none"
    residual_norm_lambda: float = 0.1
    bc_resnet: BcResNet = BcResNet()

    def __post_init__(self) -> None:
        """Check ranges and that the values fit together."""
        widen(self)
        for key in ("depths", "se_bottlenecks"):
            count = len(getattr(self, key))
            require(
                count == len(self.widths),
                f"architecture.{key} has {count} stages, but architecture.widths has {len(self.widths)}",
            )
        for key in ("frequency_strides", "time_strides"):
            strides = getattr(self, key)
            require(
                len(strides) == sum(self.depths),
                f"architecture.{key} has {len(strides)} values, but architecture.depths has {sum(self.depths)} blocks",
            )
            require(
                all(1 <= s <= 8 for s in strides), f"architecture.{key} must lie between 1 and 8, got {list(strides)}"
            )
        for key in ("widths", "depths", "se_bottlenecks"):
            require(
                len(getattr(self, key)) >= 1 and min(getattr(self, key)) >= 1,
                f"architecture.{key} must hold values of at least 1, got {list(getattr(self, key))}",
            )
        require(self.cardinality >= 1, f"architecture.cardinality must be at least 1, got {self.cardinality}")
        require(
            all(width % self.cardinality == 0 for width in self.widths),
            f"architecture.widths {list(self.widths)} must be multiples of architecture.cardinality {self.cardinality}",
        )
        require(self.stem_kernel in (3, 5), f"architecture.stem_kernel must be 3 or 5, got {self.stem_kernel}")
        require(
            0 <= self.residual_norm_lambda <= 1,
            f"architecture.residual_norm_lambda must lie between 0 and 1, got {self.residual_norm_lambda}",
        )
        require(self.classes >= 2, f"architecture.classes must be at least 2, got {self.classes}")
