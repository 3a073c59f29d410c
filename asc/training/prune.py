"""Pruning: the smallest weights become zero after the first cycle and stay zero (report, section 3.3).

Pruning is unstructured and by magnitude, over all convolution, dense and SE weights of the same stored width (Blalock
et al. 2020, https://arxiv.org/abs/2003.03033; `asc.size.law.pruned_counts`). So the size law knows the bytes before
training. Masks are keyed by the names of stored items; True means that a weight is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from asc.results import StoredSize
from asc.size.items import Item
from asc.size.law import pruned_counts, stored

Masks = Mapping[str, Tensor]


@torch.no_grad()
def smallest(network: nn.Module, items: Sequence[Item], prune_ratio: float) -> dict[str, Tensor]:
    """Return masks that prune the given share (0 to 1) of the weights, those of the smallest magnitudes.

    They prune exactly as many as `pruned_counts` says, and have the shapes of the weights. `network` is one in training
    whose prunable weights belong to `items`.
    """
    weights = prunable_weights(network, items)
    masks: dict[str, Tensor] = {}
    for bytes_each, count in pruned_counts(items, prune_ratio).items():
        names = [item.name for item in items if item.prunable and item.bytes_each == bytes_each]
        magnitudes = torch.cat([weights[name].abs().flatten() for name in names])
        kept = torch.ones_like(magnitudes, dtype=torch.bool)
        kept[torch.topk(magnitudes, count, largest=False).indices] = False
        parts = torch.split(kept, [weights[name].numel() for name in names])
        masks |= {name: part.view(weights[name].shape) for name, part in zip(names, parts, strict=True)}
    return masks


@torch.no_grad()
def hold(network: nn.Module, masks: Masks) -> None:
    """Set the pruned weights of a network in training to zero, in place. Call it after every optimiser step."""
    weights = _weights(network) if masks else {}  # to list them takes a millisecond of every step
    for name, kept in masks.items():
        weights[name].masked_fill_(~kept, 0.0)


def counted(state: Mapping[str, Tensor], masks: Masks, items: Sequence[Item]) -> StoredSize:
    """Count what a trained network stores on the tensors of its stored form; `items` give the kind of each.

    A kept weight that was rounded to zero is counted as stored.

    Raises:
        AssertionError: a pruned weight is not zero.
    """
    zeros: dict[int, int] = {}
    for name, kept in masks.items():
        tensor = state[name]
        pruned = ~kept.to(tensor.device)
        if bool(tensor[pruned].any()):
            raise AssertionError(f"pruned weights of {name} are no longer zero")
        zeros[tensor.element_size()] = zeros.get(tensor.element_size(), 0) + int(pruned.sum())
    found = [replace(i, count=state[i.name].numel(), bytes_each=state[i.name].element_size()) for i in items]
    return stored(found, zeros)


def prunable_weights(network: nn.Module, items: Sequence[Item]) -> dict[str, nn.Parameter]:
    """Return the parameters of a network in training that belong to the prunable items, by item name."""
    weights = _weights(network)
    return {item.name: weights[item.name] for item in items if item.prunable}


def _weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return weights (not biases or batch norms) by their names in the stored form.

    For example, `stem.conv.weight` is `stem.weight` there.
    """
    return {
        name.replace(".conv.", ".").replace(".linear.", "."): parameter
        for name, parameter in network.named_parameters()
        if parameter.dim() > 1
    }
