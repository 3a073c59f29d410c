"""Packing and unpacking is lossless, and a mask that does not fit is refused."""

import numpy as np
import pytest
import torch
from torch import Tensor

from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.model_file.packs import pack, unpack
from asc.models.stored import empty
from asc.size.file_layout import KEPT, packs
from asc.size.items import Item
from asc.size.law import pruned_counts
from asc.size.stored_items import stored_items


@pytest.fixture(params=["int8", "float16"])
def experiment(request: pytest.FixtureRequest, tiny_experiment: Experiment) -> Experiment:
    return tiny_experiment.updated({"compression.storage": request.param, "compression.prune_ratio": 0.3})


def made(experiment: Experiment) -> tuple[dict[str, Tensor], tuple[Item, ...], dict[int, int]]:
    """Return a random state with the pruned weights and 3 more per byte width at zero, its items, and pruned counts."""
    items = stored_items(experiment)
    pruned = pruned_counts(items, experiment.compression.prune_ratio)
    rng = np.random.default_rng(0)
    state, dropped = {}, {each: [False] * 0 for each in pruned}
    for each, count in pruned.items():
        total = sum(item.count for item in items if item.prunable and item.bytes_each == each)
        dropped[each] = list(rng.permutation(total) < count + 3)
    for item, tensor in zip(items, empty(experiment).state_dict().values(), strict=True):
        values = torch.from_numpy(rng.integers(1, 127, item.count)).to(tensor.dtype)
        if item.prunable:
            values[torch.tensor(dropped[item.bytes_each][: item.count])] = 0
            dropped[item.bytes_each] = dropped[item.bytes_each][item.count :]
        state[item.name] = values.view(tensor.shape)
    return state, items, pruned


def test_packs_round_trip_and_have_the_lengths_of_the_layout(experiment: Experiment) -> None:
    state, items, pruned = made(experiment)
    packed = pack(state, items, pruned)
    assert {name: (len(t), t.element_size()) for name, t in packed.items()} == {
        p.name: (p.count, p.bytes_each) for p in packs(items, pruned)
    }
    again = unpack(packed, items, pruned, empty(experiment).state_dict())
    assert again.keys() == state.keys()
    for name, tensor in state.items():
        assert again[name].dtype == tensor.dtype and torch.equal(again[name], tensor), name


def test_zeros_beyond_the_pruned_ones_are_stored(experiment: Experiment) -> None:
    state, items, pruned = made(experiment)
    packed = pack(state, items, pruned)
    zeros = sum(int((packed[name] == 0).sum()) for name in packed if name != KEPT)
    assert zeros == 3 * len(pruned)


def test_the_mask_bits_mark_the_kept_weights_in_order(experiment: Experiment) -> None:
    state, items, pruned = made(experiment)
    bits = np.unpackbits(pack(state, items, pruned)[KEPT].numpy())
    weights = np.concatenate([state[item.name].numpy().ravel() for item in items if item.prunable])
    assert (bits[: len(weights)][weights != 0] == 1).all()
    assert int((bits == 0).sum()) == sum(pruned.values()) + len(bits) - len(weights)


def test_fewer_zeros_than_pruned_weights_are_an_error(experiment: Experiment) -> None:
    state, items, pruned = made(experiment)
    state["stem.weight"] = torch.ones_like(state["stem.weight"])
    state["dense.weight"] = torch.ones_like(state["dense.weight"])
    with pytest.raises(ValueError, match="zeros to leave out do not exist"):
        pack(state, items, pruned)


def test_mask_bits_that_do_not_match_the_values_are_refused(experiment: Experiment) -> None:
    state, items, pruned = made(experiment)
    like = empty(experiment).state_dict()
    for wrong, sentence in ((0xFF, "keeps more weights"), (0x00, "keeps fewer weights")):
        packed = pack(state, items, pruned)
        packed[KEPT][:-1] = wrong
        with pytest.raises(InputError, match=sentence):
            unpack(packed, items, pruned, like)
    weights = sum(item.count for item in items if item.prunable)
    if weights % 8:
        packed = pack(state, items, pruned)
        packed[KEPT][-1] |= 1
        with pytest.raises(InputError, match="bits after its last weight"):
            unpack(packed, items, pruned, like)


@pytest.mark.parametrize(
    ("name", "tensor", "part"),
    [
        ("bias", None, "tensor bias is missing"),
        ("more", torch.zeros(1), "tensor more is not of this network"),
        ("bias", torch.zeros(3, dtype=torch.int64), r"tensor bias is torch.int64 \[3\], not torch"),
        ("se", float("nan"), "tensor se has values that are not finite"),
        ("se", float("inf"), "tensor se has values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(experiment: Experiment, name: str, tensor: object, part: str) -> None:
    state, items, pruned = made(experiment)
    packed = pack(state, items, pruned)
    if isinstance(tensor, float):
        packed[name][0] = tensor
    elif isinstance(tensor, Tensor):
        packed[name] = tensor
    else:
        del packed[name]
    with pytest.raises(InputError, match=part):
        unpack(packed, items, pruned, empty(experiment).state_dict())
