"""The layout of a model file, and so its length in bytes, from the stored items alone; no torch.

The file is safetensors (https://huggingface.co/docs/safetensors): 8 bytes with the length of the header, the header,
the tensors. All items of one kind share a tensor, in the order of `asc.size.stored_items.stored_items`: separate header
entries for some 160 items would take 14 KB. The header is padded with spaces to a length that depends only on the
number of classes.

Pruned weights are left out if that makes the file shorter. A tensor `kept` then has one bit for each prunable weight,
in order, starting at the highest bit of the first byte; only weights whose bit is set are stored. So a zero takes an
eighth of a byte. Exactly the predicted number of zeros is left out; kept weights that happen to be zero are stored.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asc.size.items import Item

LENGTH_BYTES = 8
KEPT = "kept"
# With the ten classes of the challenge, the header and its length take 3,000 bytes. Each class needs room for its label
# and a row of figures.
_HEADER_BYTES, _CLASS_BYTES = 2_392, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """One tensor of the file: its name (the kind of its items), its number of values and the bytes of each value."""

    name: str
    count: int
    bytes_each: int


def header_bytes(classes: int) -> int:
    """Length of the header without the 8 bytes before it; the format asks for a multiple of 8."""
    return -(-(_HEADER_BYTES + _CLASS_BYTES * classes) // 8) * 8


def leaves_zeros_out(items: Sequence[Item], pruned: Mapping[int, int]) -> bool:
    """Whether pruned weights are left out of the file; `pruned` is their number, by bytes per weight."""
    return _zero_bytes(pruned) > _mask_bytes(items)


def pack_names(items: Sequence[Item], pruned: Mapping[int, int]) -> tuple[str, ...]:
    """The name of the tensor that holds each item: the item's kind.

    If zeros are left out, all prunable items of one width share the tensor of the first of them, because the number of
    zeros is known for each width and not for each kind.
    """
    if not leaves_zeros_out(items, pruned):
        return tuple(item.kind for item in items)
    first: dict[int, str] = {}
    for item in items:
        if item.prunable:
            first.setdefault(item.bytes_each, item.kind)
    return tuple(first[item.bytes_each] if item.prunable else item.kind for item in items)


def packs(items: Sequence[Item], pruned: Mapping[int, int]) -> tuple[Pack, ...]:
    """The tensors of the file, in the order of their first items; `kept`, if needed, comes last."""
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
    """Exact length of the model file in bytes: the length and header, and the bytes of all `packs`."""
    classes = [item.count for item in items if item.kind == "bias"][-1]
    spared = max(_zero_bytes(pruned) - _mask_bytes(items), 0)
    return LENGTH_BYTES + header_bytes(classes) + sum(item.size_bytes for item in items) - spared


def _zero_bytes(pruned: Mapping[int, int]) -> int:
    return sum(each * count for each, count in pruned.items())


def _mask_bytes(items: Sequence[Item]) -> int:
    return -(-sum(item.count for item in items if item.prunable) // 8)
