"""Pruning: the smallest weights become zero after the first cycle and stay zero (report, section 3.3).

Unstructured and global by magnitude over convolution, dense and SE weights (Blalock et al. 2020,
https://arxiv.org/abs/2003.03033), among those of the same stored width (`asc.size.law.pruned_counts`), so that the size
law knows the bytes before training. Masks are kept by the names of stored items; True is a weight that is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from asc.results import Stored
from asc.size.items import Item
from asc.size.law import pruned_counts, stored

Masks = Mapping[str, Tensor]


@torch.no_grad()
def smallest(network: nn.Module, items: Sequence[Item], prune_ratio: float) -> dict[str, Tensor]:
    """Masks that leave out the given share of the weights, those with the smallest magnitudes, exactly as many as
    `pruned_counts` says.

    `network` is one in training whose prunable weights belong to `items`.
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
    """Set the pruned weights of a network in training to zero, in place: after every step of the optimiser."""
    weights = _weights(network)
    for name, kept in masks.items():
        weights[name].masked_fill_(~kept, 0.0)


def counted(state: Mapping[str, Tensor], masks: Masks, items: Sequence[Item]) -> Stored:
    """What a trained network stores, counted on the tensors of its stored form, whose `items` say of what kind each is.

    A kept weight that was rounded to zero counts.

    Raises:
        AssertionError: a pruned weight is not zero.
    """
    zeros: dict[int, int] = {}
    for name, kept in masks.items():
        tensor = state[name]
        pruned = ~kept.to(tensor.device)
        if bool(tensor[pruned].any()):
            raise AssertionError(f"pruned weights of {name} came back")
        zeros[tensor.element_size()] = zeros.get(tensor.element_size(), 0) + int(pruned.sum())
    found = [replace(i, count=state[i.name].numel(), bytes_each=state[i.name].element_size()) for i in items]
    return stored(found, zeros)


def prunable_weights(network: nn.Module, items: Sequence[Item]) -> dict[str, nn.Parameter]:
    """The parameters of a network in training that belong to the prunable items, by their names."""
    weights = _weights(network)
    return {item.name: weights[item.name] for item in items if item.prunable}


def _weights(network: nn.Module) -> dict[str, nn.Parameter]:
    """Weights (not biases or batch norms) by the names that they have in the stored form: `stem.conv.weight` there is
    `stem.weight`.
    """
    return {
        name.replace(".conv.", ".").replace(".linear.", "."): parameter
        for name, parameter in network.named_parameters()
        if parameter.dim() > 1
    }
