"""Pruning compared with torch.nn.utils.prune, and its counts compared with the size law."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from asc.config.experiment import Experiment
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.network import Network
from asc.size.law import cost, pruned_counts
from asc.size.stored_items import stored_items
from asc.training import prune


def made(experiment: Experiment) -> Network:
    storage = experiment.compression.storage
    return build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage)


def of(experiment: Experiment):
    return stored_items(experiment)


@pytest.fixture(params=["int8", "float16"])
def experiment(request: pytest.FixtureRequest, tiny_experiment: Experiment) -> Experiment:
    return tiny_experiment.updated({"compression.storage": request.param, "compression.prune_ratio": 0.3})


def test_float16_masks_equal_those_of_torchs_global_l1_pruning(tiny_experiment: Experiment) -> None:
    experiment = tiny_experiment.updated({"compression.storage": "float16", "compression.prune_ratio": 0.3})
    network, items = made(experiment), of(experiment)
    masks = prune.smallest(network, items, 0.3)
    twin = made(experiment).to(memory_format=torch.contiguous_format)
    parameters = [(m, "weight") for m in twin.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    torch_prune.global_unstructured(parameters, pruning_method=torch_prune.L1Unstructured, amount=0.3)
    theirs = {name: mask for name, mask in twin.named_buffers() if name.endswith("weight_mask")}
    assert len(theirs) == len(masks) == sum(item.prunable for item in items)
    assert sum(int((~mask).sum()) for mask in masks.values()) == sum(int((m == 0).sum()) for m in theirs.values())
    for name, mask in theirs.items():
        item = name.replace(".conv.", ".").replace(".linear.", ".").removesuffix("_mask")
        assert torch.equal(masks[item], mask.bool()), item


def test_the_smallest_weights_of_each_storage_width_are_pruned(experiment: Experiment) -> None:
    network, items = made(experiment), of(experiment)
    masks = prune.smallest(network, items, 0.3)
    weights = prune.prunable_weights(network, items)
    widths = {item.bytes_each for item in items if item.prunable}
    assert widths == ({1, 4} if experiment.compression.storage == "int8" else {2})
    for width in widths:
        names = [item.name for item in items if item.prunable and item.bytes_each == width]
        magnitudes = torch.cat([weights[name].detach().abs().flatten() for name in names])
        kept = torch.cat([masks[name].flatten() for name in names])
        assert int((~kept).sum()) == round(0.3 * len(kept)) == pruned_counts(items, 0.3)[width]
        assert magnitudes[~kept].max() <= magnitudes[kept].min()


def test_hold_sets_pruned_weights_to_zero_and_keeps_the_others(experiment: Experiment) -> None:
    network, items = made(experiment), of(experiment)
    before = {name: weight.detach().clone() for name, weight in prune.prunable_weights(network, items).items()}
    masks = prune.smallest(network, items, 0.3)
    prune.hold(network, masks)
    for name, weight in prune.prunable_weights(network, items).items():
        assert torch.equal(weight.detach(), before[name] * masks[name]), name


def test_the_counts_of_the_stored_network_equal_the_prediction_of_the_size_law(experiment: Experiment) -> None:
    network, items = made(experiment).train(), of(experiment)
    masks = prune.smallest(network, items, 0.3)
    prune.hold(network, masks)
    network(torch.randn(4, 1, experiment.front_end.mel_bands, 20))
    state = to_stored(network.eval()).state_dict()
    predicted = cost(experiment).stored
    assert prune.counted(state, masks, items) == predicted
    assert predicted.nonzero_bytes < predicted.size_bytes
    zeros = sum(int((tensor == 0).sum()) for name, tensor in state.items() if name in masks)
    assert zeros >= predicted.parameters - predicted.nonzero_parameters, (
        "kept weights that round to zero are counted as nonzero"
    )


def test_a_pruned_weight_that_is_not_zero_is_found(experiment: Experiment) -> None:
    network, items = made(experiment).train(), of(experiment)
    masks = prune.smallest(network, items, 0.3)
    network(torch.randn(4, 1, experiment.front_end.mel_bands, 20))
    with pytest.raises(AssertionError, match="are no longer zero"):
        prune.counted(to_stored(network.eval()).state_dict(), masks, items)


def test_without_pruning_the_masks_keep_every_weight(tiny_experiment: Experiment) -> None:
    network, items = made(tiny_experiment), of(tiny_experiment)
    masks = prune.smallest(network, items, 0.0)
    assert all(bool(mask.all()) for mask in masks.values())
