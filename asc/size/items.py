"""One stored tensor of a network, as the size law and the model file describe it; no torch."""

from dataclasses import dataclass
from typing import Literal

ItemKind = Literal[
    "band_norm",
    "weight",
    "bias",
    "weight_scale",
    "batch_norm",
    "sub_spectral_norm",
    "se",
    "se_batch_norm",
    "response_norm",
    "activation_scale",
    "activation_zero_point",
]


@dataclass(frozen=True, slots=True)
class Item:
    """One stored tensor; `name` is its key in the stored network's state_dict, `count` its number of values."""

    name: str
    kind: ItemKind
    count: int
    bytes_each: int
    prunable: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.count * self.bytes_each
