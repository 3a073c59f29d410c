"""How a model file is laid out, and so how long it is, from the stored items alone; no torch.

The file is safetensors (https://huggingface.co/docs/safetensors): 8 bytes with the length of the header, the header,
the tensors. All items of a kind lie in one tensor, in the order of `asc.size.law.stored_items`, for a name and a place
for each of some 160 would take 14 KB. The header is filled with spaces up to a length that the number of classes
decides.

Weights that were pruned are left out where that makes the file shorter: a tensor `kept` then has a bit for each
prunable weight, in order, the first in the highest bit of the first byte, and the weights of a kind are those with a
set bit. So a zero takes an eighth of a byte. Exactly the predicted number of zeros is left out; kept weights that
happen to be zero are stored.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asc.size.items import Item

LENGTH_BYTES = 8
KEPT = "kept"
# With the ten classes of the challenge the header and its length are 3,000 bytes. Each class has a label, and a row of
# figures.
_HEADER_BYTES, _CLASS_BYTES = 2_392, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One tensor of the file: its name (the kind of its items), how many values it has, the bytes of each."""

    name: str
    count: int
    bytes_each: int


def header_bytes(classes: int) -> int:
    """Length of the header, the 8 bytes before it aside; a multiple of 8, as the format has it."""
    return -(-(_HEADER_BYTES + _CLASS_BYTES * classes) // 8) * 8


def leaves_zeros_out(items: Sequence[Item], pruned: Mapping[int, int]) -> bool:
    """Whether pruned weights (`pruned` is their number by the bytes of one) are left out of the file."""
    return sum(each * count for each, count in pruned.items()) > _mask_bytes(items)


def pack_names(items: Sequence[Item], pruned: Mapping[int, int]) -> tuple[str, ...]:
    """The tensor that each item lies in: its kind.

    Where zeros are left out, the prunable items of one width lie together in that of the first of them, for it is known
    of each width how many are left out, not of each kind.
    """
    if not leaves_zeros_out(items, pruned):
        return tuple(item.kind for item in items)
    first: dict[int, str] = {}
    for item in items:
        if item.prunable:
            first.setdefault(item.bytes_each, item.kind)
    return tuple(first[item.bytes_each] if item.prunable else item.kind for item in items)


def packs(items: Sequence[Item], pruned: Mapping[int, int]) -> tuple[Pack, ...]:
    """The tensors of the file, in the order of their first items; `kept` is the last one."""
    counts: Counter[str] = Counter()
    widths: dict[str, int] = {}
    for item, name in zip(items, pack_names(items, pruned), strict=True):
        counts[name] += item.count
        widths[name] = item.bytes_each
    if not leaves_zeros_out(items, pruned):
        return tuple(Pack(name=name, count=count, bytes_each=widths[name]) for name, count in counts.items())
    for name in {name for item, name in zip(items, pack_names(items, pruned), strict=True) if item.prunable}:
        counts[name] -= pruned.get(widths[name], 0)
    counts[KEPT], widths[KEPT] = _mask_bytes(items), 1
    return tuple(Pack(name=name, count=count, bytes_each=widths[name]) for name, count in counts.items())


def file_bytes(items: Sequence[Item], pruned: Mapping[int, int]) -> int:
    """Length of the model file, to the byte."""
    classes = [item.count for item in items if item.kind == "bias"][-1]
    tensors = sum(pack.count * pack.bytes_each for pack in packs(items, pruned))
    return LENGTH_BYTES + header_bytes(classes) + tensors


def _mask_bytes(items: Sequence[Item]) -> int:
    return -(-sum(item.count for item in items if item.prunable) // 8)
