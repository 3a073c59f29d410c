"""Pack the tensors of a network into the few tensors of its model file, and back (layout: `asc.size.file_layout`)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from asc.errors import InputError
from asc.size.file_layout import KEPT, leaves_zeros_out, pack_names, packs
from asc.size.items import Item


def pack(state: Mapping[str, Tensor], items: Sequence[Item], pruned: Mapping[int, int]) -> dict[str, Tensor]:
    """Pack the tensors of a stored network, named as in `items`, into the tensors of a file, each (count,).

    `pruned` maps the bytes per weight to the number of zeros to leave out; the first zeros are left out.

    Raises:
        ValueError: there are fewer zeros than that.
    """
    values = [state[item.name].detach().cpu().flatten() for item in items]
    masks: dict[str, Tensor] = {}
    if leaves_zeros_out(items, pruned):
        masks = _masks(values, items, pruned)
        values = [v[masks[item.name]] if item.name in masks else v for v, item in zip(values, items, strict=True)]
    together: dict[str, list[Tensor]] = {}
    for name, value in zip(pack_names(items, pruned), values, strict=True):
        together.setdefault(name, []).append(value)
    packed = {name: torch.cat(parts) for name, parts in together.items()}
    if masks:
        packed[KEPT] = torch.from_numpy(np.packbits(torch.cat(list(masks.values())).numpy()))
    return packed


def unpack(
    packed: Mapping[str, Tensor], items: Sequence[Item], pruned: Mapping[int, int], like: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Undo `pack`: return the tensors of a stored network, with the shapes and types of those in `like`.

    Raises:
        InputError: a tensor does not fit the layout, or the mask `kept` does not match the number of values.
    """
    _check(packed, items, pruned, like)
    masks = _read_masks(packed[KEPT], items) if leaves_zeros_out(items, pruned) else {}
    state, places = {}, dict.fromkeys(packed, 0)
    for item, name in zip(items, pack_names(items, pruned), strict=True):
        mask = masks.get(item.name)
        count = item.count if mask is None else int(mask.sum())
        values = packed[name][places[name] : places[name] + count]
        places[name] += count
        if len(values) < count:
            raise InputError(f"tensor {KEPT} keeps more weights than there are")
        if mask is not None:
            values = torch.zeros(item.count, dtype=values.dtype).masked_scatter_(mask, values)
        state[item.name] = values.view(like[item.name].shape)
    if any(place != len(packed[name]) for name, place in places.items() if name != KEPT):
        raise InputError(f"tensor {KEPT} keeps fewer weights than there are")
    return state


def _read_masks(kept: Tensor, items: Sequence[Item]) -> dict[str, Tensor]:
    prunable = [item for item in items if item.prunable]
    counts = [item.count for item in prunable]
    bits = torch.from_numpy(np.unpackbits(kept.numpy())).bool()
    if bool(bits[sum(counts) :].any()):
        raise InputError(f"tensor {KEPT} has bits after its last weight")
    parts = torch.split(bits[: sum(counts)], counts)
    return {item.name: part for item, part in zip(prunable, parts, strict=True)}


def _masks(values: Sequence[Tensor], items: Sequence[Item], pruned: Mapping[int, int]) -> dict[str, Tensor]:
    """Mask the weights to store, bool (count,) for each prunable item, in the order of the items."""
    masks = {}
    left = dict(pruned)
    for value, item in zip(values, items, strict=True):
        if item.prunable:
            zero = value == 0
            out = zero & (zero.cumsum(0) <= left.get(item.bytes_each, 0))
            left[item.bytes_each] = left.get(item.bytes_each, 0) - int(out.sum())
            masks[item.name] = ~out
    if any(left.values()):
        raise ValueError(f"{sum(left.values())} of the zeros to leave out do not exist")
    return masks


def _check(
    packed: Mapping[str, Tensor], items: Sequence[Item], pruned: Mapping[int, int], like: Mapping[str, Tensor]
) -> None:
    """Check names, lengths, types (a wrong type would be cast silently), and that values are finite."""
    wanted = {pack.name: pack.count for pack in packs(items, pruned)}
    types = {name: like[item.name].dtype for item, name in zip(items, pack_names(items, pruned), strict=True)}
    types[KEPT] = torch.uint8
    for name in sorted(packed.keys() ^ wanted.keys()):
        raise InputError(f"tensor {name} is {'missing' if name in wanted else 'not of this network'}")
    for name, count in wanted.items():
        found = packed[name]
        if (tuple(found.shape), found.dtype) != ((count,), types[name]):
            raise InputError(f"tensor {name} is {found.dtype} {list(found.shape)}, not {types[name]} [{count}]")
        if found.is_floating_point() and not bool(found.isfinite().all()):
            raise InputError(f"tensor {name} has values that are not finite")
