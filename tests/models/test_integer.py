"""The integer form: exact sums, agreement with the fake-quantised network within one step, a complete state."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional

from asc.config.architecture import Architecture
from asc.config.front_end import FrontEnd
from asc.errors import InputError
from asc.models.build import build_network
from asc.models.conversion import to_integer
from asc.models.integer import IntegerNet
from asc.topology.describe import describe

SMALL = Architecture(
    widths=(8, 12, 20),
    depths=(2, 1, 1),
    se_bottlenecks=(2, 3, 5),
    frequency_strides=(2, 1, 2, 2),
    time_strides=(2, 2, 1, 2),
    classes=6,
)
SMALL_FRONT_END = FrontEnd(mel_bands=48)


def clips(count, frames, *, bands, classes, seed):
    """Noisy log-mels (count, 1, bands, frames) whose class sets spectrum and beat, and the labels (count,)."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.randn(classes, bands, 1, generator=torch.Generator().manual_seed(7))
    labels = torch.randint(0, classes, (count,), generator=generator)
    beat = torch.sin((labels + 1)[:, None, None] * torch.arange(frames) * 0.1)
    noise = torch.randn(count, bands, frames, generator=generator)
    return (spectra[labels] * (1 + 0.5 * beat) + 2 * noise - 4)[:, None], labels


def trained(architecture, front_end, *, steps, batch=8):
    network = build_network(architecture, front_end, seed=0).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(steps):
        if step == steps * 3 // 4:
            network.freeze_batch_norm()
            network.freeze_observers()
        x, labels = clips(batch, 100, bands=front_end.mel_bands, classes=architecture.classes, seed=step)
        loss = functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def small():
    return trained(SMALL, SMALL_FRONT_END, steps=44)


@pytest.fixture(scope="module")
def reference():
    return trained(Architecture(), FrontEnd(), steps=12, batch=4)


@torch.no_grad()
def both_logits(network, count, frames, seed=1000):
    front_end, classes = network.front_end, network.topology.classifier.outputs
    x, labels = clips(count, frames, bands=front_end.mel_bands, classes=classes, seed=seed)
    integer = to_integer(network)
    parts = x.split(10)
    return torch.cat([network(part) for part in parts]), torch.cat([integer(part) for part in parts]), labels


def assert_agreement(network, fake, integer):
    """Check that logits differ by at most one step, and argmax only where the top two are within one step."""
    step = float(network.dense.output.scale)
    assert float((fake - integer).abs().max()) <= step * 1.001
    differs = fake.argmax(1) != integer.argmax(1)
    for logits in (fake, integer):
        top = logits.topk(2, dim=1).values
        assert bool((top[differs, 0] - top[differs, 1] <= step * 1.001).all())


@pytest.mark.parametrize("frames", [300, 1000])
def test_a_small_network_agrees_on_a_hundred_clips(small, frames):
    fake, integer, labels = both_logits(small, 100, frames)
    assert_agreement(small, fake, integer)
    assert float((fake != integer).float().mean()) < 0.02
    assert float((integer.argmax(1) == labels).float().mean()) > 0.5  # it has learnt: chance is 1 / 6
    assert len(integer.unique()) > 20


@pytest.mark.parametrize(("count", "frames"), [(10, 300), (4, 1000)])
def test_the_reference_agrees(reference, count, frames):
    fake, integer, _ = both_logits(reference, count, frames)
    assert_agreement(reference, fake, integer)


def test_a_loaded_state_counts_at_once(small):
    integer, other = to_integer(small), copy.deepcopy(small)
    x, _ = clips(2, 80, bands=48, classes=6, seed=9)
    integer(x)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    integer.load_state_dict(to_integer(other).state_dict())
    assert torch.equal(integer(x), to_integer(other)(x))


def test_stored_types(small):
    types = {
        "weight": torch.int8,
        "bias": torch.int32,
        "weight_scale": torch.float32,
        "scale": torch.float32,
        "zero_point": torch.int32,
    }
    for name, value in to_integer(small).state_dict().items():
        assert value.dtype == (torch.float32 if ".se." in name else types[name.rsplit(".", 1)[1]]), name


def test_a_network_reloaded_from_plain_tensors_gives_identical_logits(small):
    integer = to_integer(small)
    plain = {name: value.clone().contiguous() for name, value in integer.state_dict().items()}
    again = IntegerNet(describe(SMALL, SMALL_FRONT_END.mel_bands), SMALL_FRONT_END)
    again.load_state_dict(plain, strict=True)
    x, _ = clips(5, 200, bands=48, classes=6, seed=3)
    assert torch.equal(integer(x), again(x))
    assert torch.equal(integer(x), pickle.loads(pickle.dumps(integer))(x))
    assert torch.equal(integer(x), copy.deepcopy(integer)(x))


def test_a_clip_has_the_same_logits_alone_and_in_a_batch(small):
    integer = to_integer(small)
    x, _ = clips(6, 150, bands=48, classes=6, seed=4)
    alone = torch.cat([integer(clip[None]) for clip in x])
    assert_agreement(small, alone, integer(x))


def test_it_has_nothing_to_train_and_refuses_a_wrong_shape(small):
    integer = to_integer(small)
    assert not any(weight.requires_grad for weight in integer.parameters())
    assert not integer.training
    x, _ = clips(2, 60, bands=48, classes=6, seed=5)
    assert not integer(x.requires_grad_()).requires_grad
    with pytest.raises(InputError, match=r"\(batch, 1, 48, frames\)"):
        integer(torch.zeros(1, 1, 40, 60))


def test_conversion_does_not_change_the_network(small):
    before = {name: value.clone() for name, value in small.state_dict().items()}
    integer = to_integer(small)
    integer.get_submodule("blocks.0.se.reduce").weight.fill_(9.0)
    integer.input.scale.fill_(9.0)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_agreement_holds_with_a_dead_channel_and_a_large_bias(small):
    network = copy.deepcopy(small)
    with torch.no_grad():
        network.get_submodule("blocks.1.conv1.norm").weight[0] = 0.0
        network.get_submodule("blocks.1.conv1.norm").bias[0] = 3.0
        network.get_submodule("blocks.2.conv2.norm").weight[1] = 1e-12
    fake, integer, _ = both_logits(network, 20, 120)
    assert_agreement(network, fake, integer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_agrees(small):
    x, _ = clips(10, 300, bands=48, classes=6, seed=6)
    integer = to_integer(small)
    assert_agreement(small, copy.deepcopy(integer).cuda()(x.cuda()).cpu(), integer(x))
