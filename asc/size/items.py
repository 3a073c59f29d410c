"""One stored tensor of a network, as the size law and the model file speak of it; no torch."""

from dataclasses import dataclass
from typing import Literal

ItemKind = Literal[
    "weight",
    "bias",
    "weight_scale",
    "batch_norm",
    "se",
    "se_batch_norm",
    "activation_scale",
    "activation_zero_point",
]


@dataclass(frozen=True, slots=True)
class Item:
    """One stored tensor; `name` is its key in the state_dict of the stored form. Only a `prunable` one is pruned."""

    name: str
    kind: ItemKind
    count: int
    bytes_each: int
    prunable: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.count * self.bytes_each
