"""The model file: it reads back what was written, has the predicted length, and refuses any damage."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forged import fuzz
from safetensors import safe_open
from safetensors.torch import save_file

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import load_experiment, recipe_names
from asc.errors import InputError
from asc.model_file.artefact import check_room, load_model, save_model
from asc.model_file.model_info import DataIdentity, ModelInfo, longest, rounded
from asc.models.build import build_network
from asc.models.conversion import to_stored
from asc.models.stored import StoredNet
from asc.results import Evaluation, GroupFigures
from asc.size.file_layout import packs
from asc.size.law import cost
from asc.training.prune import hold, smallest

FORGED = 1_000


def trained(experiment: Experiment) -> StoredNet:
    """The stored form of a network after four batches, pruned as its config says."""
    architecture, front_end = experiment.architecture, experiment.front_end
    built = build_network(architecture, front_end, seed=3, storage=experiment.compression.storage).train()
    generator = torch.Generator().manual_seed(0)
    hold(
        built,
        smallest(
            built,
            cost(experiment).items,
            _ratio(experiment),
        ),
    )
    for _ in range(4):
        built(torch.randn(8, 1, front_end.mel_bands, 40, generator=generator) * 3)
    return to_stored(built.eval())


def _ratio(experiment: Experiment) -> float:
    return experiment.compression.prune_ratio


def said(
    experiment: Experiment, labels: tuple[str, ...] = ("down_fast", "down_slow", "up_fast", "\u00fcp")
) -> ModelInfo:
    rows = (GroupFigures(name="down", clips=3, log_loss=1.1, accuracy=0.3333),)
    return ModelInfo(
        experiment=experiment,
        labels=("down_fast", "down_slow", "up_fast", "\u00fcp"),
        data=DataIdentity(choice=DataChoice("csv:meta.csv"), digest="0" * 64),
        evaluation=Evaluation(
            split="valid",
            clips=3,
            log_loss=1.1,
            accuracy=0.3333,
            micro_log_loss=1.2,
            micro_accuracy=0.25,
            per_class=rows,
            per_device=rows,
        ),
    )


@pytest.fixture(scope="module", params=["int8", "float16", "int8 pruned", "float16 pruned"])
def experiment(request: pytest.FixtureRequest, tiny_experiment: Experiment) -> Experiment:
    storage, _, pruned = request.param.partition(" ")
    return tiny_experiment.updated(
        {"compression.storage": storage, "compression.prune_ratio": 0.4 if pruned else 0.0, "schedule.cycles": 2}
    )


@pytest.fixture(scope="module")
def network(experiment: Experiment) -> StoredNet:
    return trained(experiment)


@pytest.fixture
def path(tmp_path: Path, network: StoredNet, experiment: Experiment) -> Path:
    saved = tmp_path / "model.safetensors"
    save_model(saved, network, said(experiment))
    return saved


def test_a_loaded_model_gives_bit_identical_logits(path: Path, network: StoredNet, experiment: Experiment) -> None:
    loaded, info = load_model(path)
    assert info == said(experiment)
    assert not loaded.training
    generator = torch.Generator().manual_seed(1)
    for frames in (40, 57):
        log_mel = torch.randn(5, 1, 16, frames, generator=generator) * 3
        logits = network(log_mel)
        assert torch.equal(loaded(log_mel), logits)
        assert len(logits.unique()) > 5, "constant logits would prove nothing"


def test_any_safetensors_reader_finds_the_tensors_of_the_layout(path: Path, experiment: Experiment) -> None:
    size = cost(experiment)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata()
    assert {name: (t.numel(), t.element_size()) for name, t in tensors.items()} == {
        pack.name: (pack.count, pack.bytes_each) for pack in packs(size.items, size.pruned)
    }
    assert json.loads(metadata["labels"].replace("'", '"')) == list(said(experiment).labels)
    assert set(metadata) == {"asc", "checksum", "fingerprint", "config", "labels", "data", "size", "figures"}


def test_it_has_the_predicted_length_and_is_reproducible(
    path: Path, network: StoredNet, experiment: Experiment
) -> None:
    predicted = cost(experiment).stored.file_bytes
    assert path.stat().st_size == predicted
    again = path.with_name("again.safetensors")
    save_model(again, network, said(experiment))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("recipe", recipe_names())
def test_every_recipe_writes_the_predicted_bytes_with_any_metadata(recipe: str, tmp_path: Path) -> None:
    experiment = load_experiment(recipe)
    network = trained(experiment.updated({"schedule.cycles": 2}))
    labels = tuple(f"street_pedestrian_{number}" for number in range(10))
    data = DataIdentity(choice=DataChoice(f"csv:{'d' * 100}", device_irs="i" * 40), digest="f" * 64)
    info = longest(experiment, labels, data)
    device = GroupFigures(name="s1", clips=100, log_loss=1.2345, accuracy=0.5432, calibration_error=0.1234)
    for devices in (0, 1, 1000):
        figures = replace(info.evaluation, per_device=(device,) * devices)
        save_model(tmp_path / "model.safetensors", network, replace(info, evaluation=figures))
        law = cost(experiment).stored
        assert (tmp_path / "model.safetensors").stat().st_size == law.file_bytes
        kept = load_model(tmp_path / "model.safetensors")[1].evaluation.per_device
        assert len(kept) == (0 if devices == 1000 else devices), "all rows or none"


def test_figures_are_stored_to_four_decimals(network: StoredNet, experiment: Experiment, tmp_path: Path) -> None:
    info = said(experiment)
    info = replace(info, evaluation=replace(info.evaluation, log_loss=1 / 3))
    save_model(tmp_path / "model.safetensors", network, info)
    assert load_model(tmp_path / "model.safetensors")[1] == rounded(info) != info


def test_names_too_long_for_the_header_are_refused_before_training(tiny_experiment: Experiment) -> None:
    labels = ("a", "b", "c", "d")

    def identity(length: int) -> DataIdentity:
        return DataIdentity(choice=DataChoice(f"csv:{'d' * length}"), digest="f" * 64)

    check_room(tiny_experiment, labels, identity(200))
    with pytest.raises(
        InputError, match=r"bytes too long .* shorter labels, a shorter --group-from, or a shorter path"
    ):
        check_room(tiny_experiment, labels, identity(2_000))


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_model(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} ") and "\n" not in sentence
    return sentence


def test_a_missing_empty_or_truncated_file_is_refused(path: Path) -> None:
    assert "does not exist" in refused(path.with_name("none"))
    assert "is not a file" in refused(path.parent)
    whole = path.read_bytes()
    for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "cut off" in refused(path)
    path.write_bytes(whole + b"\0")
    assert f"it has {len(whole) + 1:,} bytes, but its config needs {len(whole):,}" in refused(path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"just some text, no model at all", "does not begin with the length of a header"),
        ((5).to_bytes(8, "little") + b"hello", "its header cannot be read"),
        ((100_000).to_bytes(8, "little") + b"[" * 100_000, "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"{}", "its header describes no network"),
        ((2).to_bytes(8, "little") + b"[]", "its header describes no network"),
        ((22).to_bytes(8, "little") + b'{"__metadata__":{"a":1}}'[:22], "its header cannot be read"),
        ((24).to_bytes(8, "little") + b'{"__metadata__":{"a":1}}', "its header describes no network"),
    ],
)
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    (tmp_path / "foreign").write_bytes(content)
    assert part in refused(tmp_path / "foreign")


def test_a_foreign_safetensors_file_and_another_schema_are_refused(tmp_path: Path) -> None:
    for metadata in (None, {"format": "pt"}, {"asc": "2"}, {"asc": '{"schema": 2}'}):
        save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors", metadata=metadata)
        assert ("describes no network" if metadata is None else "(schema 3)") in refused(
            tmp_path / "foreign.safetensors"
        )


def test_the_checksum_covers_every_byte(path: Path) -> None:
    """Three bits of each of the first bytes, which are read before the checksum; one bit of each of the others."""
    whole, masks = bytearray(path.read_bytes()), (1, 0x20, 0x80)
    rng = random.Random(0)
    for place in [*range(16), *rng.sample(range(len(whole)), 300), len(whole) - 1]:
        for mask in masks if place < 16 else (rng.choice(masks),):
            whole[place] ^= mask
            path.write_bytes(whole)
            refused(path)
            whole[place] ^= mask
    path.write_bytes(whole)
    load_model(path)


def test_forged_files_with_a_valid_checksum_run_or_are_refused(path: Path) -> None:
    """Nothing else may happen, whatever they hold: no other error, no hang, no tensor of another network."""
    counts = fuzz(path, seed=0, mutations=FORGED, sealed=True)
    assert counts.refused > FORGED // 2 and counts.ran > 0, counts


def test_damaged_files_are_refused(path: Path) -> None:
    counts = fuzz(path, seed=1, mutations=FORGED, sealed=False)
    assert counts.refused + counts.unchanged == FORGED and counts.unchanged < FORGED // 10, counts
