import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asc.artefact import DataIdentity, ModelInfo, load_model, save_model
from asc.checkpoint import read_tensors, write_tensors
from asc.config import Experiment
from asc.data.choice import DataChoice
from asc.errors import InputError
from asc.models.build import build_network
from asc.quant.integer import IntegerNet, to_integer
from asc.results import Evaluation, GroupFigures
from asc.size import stored_items


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment) -> IntegerNet:
    """The integer form of a network whose batch norm and observers have seen a few batches."""
    built = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=3).train()
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        built(torch.randn(8, 1, 16, 40, generator=generator) * 3)
    return to_integer(built)


@pytest.fixture
def info(tiny_experiment: Experiment) -> ModelInfo:
    rows = (GroupFigures(name="down", clips=3, log_loss=1.1, accuracy=1 / 3),)
    return ModelInfo(
        experiment=tiny_experiment,
        labels=("down_fast", "down_slow", "up_fast", "\u00fcp"),
        data=DataIdentity(choice=DataChoice("csv:meta.csv"), digest="0" * 12),
        evaluation=Evaluation(
            split="valid",
            clips=3,
            log_loss=1.1,
            accuracy=1 / 3,
            micro_log_loss=1.2,
            micro_accuracy=0.25,
            per_class=rows,
            per_device=rows,
        ),
    )


@pytest.fixture
def path(tmp_path: Path, network: IntegerNet, info: ModelInfo) -> Path:
    saved = tmp_path / "model.safetensors"
    save_model(saved, network, info)
    return saved


def test_a_loaded_model_gives_bit_equal_logits(path: Path, network: IntegerNet, info: ModelInfo) -> None:
    loaded, said = load_model(path)
    assert said == info
    assert not loaded.training
    generator = torch.Generator().manual_seed(1)
    for frames in (40, 57):
        log_mel = torch.randn(5, 1, 16, frames, generator=generator) * 3
        logits = network(log_mel)
        assert torch.equal(loaded(log_mel), logits)
        assert len(logits.unique()) > 5, "a network that says nothing would prove nothing"


def test_the_file_holds_exactly_the_predicted_items(path: Path, tiny_experiment: Experiment) -> None:
    tensors, _ = read_tensors(path)
    items = stored_items(tiny_experiment.architecture, tiny_experiment.front_end, tiny_experiment.compression)
    found = {name: (tensor.numel(), tensor.element_size()) for name, tensor in tensors.items()}
    assert found == {item.name: (item.count, item.bytes_each) for item in items}


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_model(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} ") and "\n" not in sentence
    return sentence


def test_a_model_that_is_cut_off_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "is damaged" in refused(path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"schema": 3}, "is no model of this asc (schema 2)"),
        ({"schema": None}, "is no model of this asc (schema 2)"),
        ({"labels": ["a", "b"]}, "(2 labels for 4 classes)"),
        ({"labels": "abcd"}, "(labels must be a list, got 'abcd')"),
        ({"extra": 1}, "(unknown key extra"),
        ({"data": {"digest": "x"}}, "(missing key data.choice)"),
        ({"evaluation": None}, "(evaluation must be a table, got None)"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(path: Path, changes: dict[str, Any], part: str) -> None:
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, {**header, **changes})
    assert part in refused(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(path: Path, value: float) -> None:
    tensors, header = read_tensors(path)
    tensors["blocks.0.se.reduce.weight"][0, 0] = value
    write_tensors(path, tensors, header)
    assert "tensor blocks.0.se.reduce.weight has values that are no finite numbers" in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("widths", [8, 10], "tensor blocks.1.conv1.weight is torch.int8 [8, 8, 3, 3], not torch.int8 [10, 8, 3, 3]"),
        ("depths", [1], "architecture.depths has 1 stages"),
        ("widht", 1, "unknown key experiment.architecture.widht"),
        ("se_bottlenecks", [2, 3], "tensor blocks.1.se.reduce.weight is torch.float32 [2, 8]"),
    ],
)
def test_a_config_of_another_network_is_refused(path: Path, key: str, value: Any, part: str) -> None:
    tensors, header = read_tensors(path)
    header["experiment"]["architecture"][key] = value
    write_tensors(path, tensors, header)
    assert part in refused(path)


@pytest.mark.parametrize(
    ("name", "tensor", "part"),
    [
        ("dense.bias", None, "tensor dense.bias is missing"),
        ("dense.more", torch.zeros(1), "tensor dense.more is not of this network"),
        ("dense.bias", torch.zeros(4), "tensor dense.bias is torch.float32 [4], not torch.int32 [4]"),
        ("dense.bias", torch.zeros(5, dtype=torch.int32), "tensor dense.bias is torch.int32 [5], not torch.int32 [4]"),
        ("dense.weight_scale", torch.ones(4).double(), "tensor dense.weight_scale is torch.float64 [4], not"),
    ],
)
def test_tensors_of_another_network_are_refused(path: Path, name: str, tensor: Tensor | None, part: str) -> None:
    tensors, header = read_tensors(path)
    kept = {key: value for key, value in tensors.items() if key != name}
    write_tensors(path, kept if tensor is None else {**kept, name: tensor}, header)
    assert part in refused(path)


def test_a_training_checkpoint_is_no_model(tmp_path: Path) -> None:
    write_tensors(tmp_path / "last", {"network.x": torch.zeros(1)}, {"fingerprint": "0", "history": []})
    assert "is no model of this asc" in refused(tmp_path / "last")


def test_the_header_is_plain_json_that_names_the_front_end(path: Path, info: ModelInfo) -> None:
    _, header = read_tensors(path)
    assert json.loads(json.dumps(header)) == header
    assert header["experiment"]["front_end"] == dataclasses.asdict(info.experiment.front_end)
