"""The training loop on real audio: resuming, the schedule, divergence, and the network that it saves."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.model_info import rounded
from asc.model_file.tensors import read_tensors
from asc.models.build import build_network
from asc.run_files import BEST_EPOCH, LAST_EPOCH, MODEL_FILE
from asc.size.law import cost
from asc.size.stored_items import stored_items
from asc.training.prune import prunable_weights
from asc.training.train import train
from asc.training_results import Completed, Diverged, EpochMetrics, Signal, Stopped, TrainingEnd

CPU = torch.device("cpu")


def run(
    experiment: Experiment, dataset: Dataset, folder: Path, stop_after: int | None = None
) -> tuple[TrainingEnd, list[EpochMetrics]]:
    heard: list[EpochMetrics] = []

    def report(metrics: EpochMetrics) -> Signal:
        heard.append(metrics)
        return Signal.STOP if metrics.epoch == stop_after else Signal.CONTINUE

    return train(experiment, dataset, folder=folder, on_epoch=report, device=CPU), heard


def figures(heard: list[EpochMetrics]) -> list[tuple[float, ...]]:
    """All metrics but the seconds, which differ between runs."""
    return [(m.epoch, m.learning_rate, m.train_loss, m.valid_log_loss, m.valid_accuracy) for m in heard]


@pytest.mark.parametrize(
    ("storage", "ratio", "method"), [("int8", 0.0, "multinomial"), ("float16", 0.5, "temperature")]
)
def test_cp_mobile_is_trained_pruned_calibrated_and_stored_at_its_predicted_size(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path, storage: str, ratio: float, method: str
) -> None:
    experiment = tiny_experiment.updated(
        {
            "architecture.family": "cp_mobile",
            "architecture.cp_mobile.base_channels": 16,
            "compression.storage": storage,
            "compression.prune_ratio": ratio,
            "calibration.method": method,
        }
    )
    end, _ = run(experiment, tiny_dataset, tmp_path)
    assert isinstance(end, Completed) and end.calibration is not None and end.stored == cost(experiment).stored
    network, info = load_model(tmp_path / MODEL_FILE)
    assert info.experiment == experiment
    logits = network(torch.randn(3, 1, experiment.front_end.mel_bands, 40, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (3, 4) and bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("normalisation", ["mean_over_time", "per_band"])
def test_a_training_resumed_after_three_epochs_equals_an_uninterrupted_one(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path, normalisation: str
) -> None:
    tiny_experiment = tiny_experiment.updated({"front_end.normalisation": normalisation})
    whole, heard = run(tiny_experiment, tiny_dataset, tmp_path / "whole")
    stopped, _ = run(tiny_experiment, tiny_dataset, tmp_path / "parts", stop_after=3)
    assert stopped == Stopped(epoch=3)
    resumed, heard_again = run(tiny_experiment, tiny_dataset, tmp_path / "parts")

    assert figures(heard) == figures(heard_again), (
        "epochs in the checkpoint must be reported again, but not trained again"
    )
    assert (tmp_path / "whole" / MODEL_FILE).read_bytes() == (tmp_path / "parts" / MODEL_FILE).read_bytes()
    for name in (LAST_EPOCH, BEST_EPOCH):
        expected, header = read_tensors(tmp_path / "whole" / name)
        actual, header_again = read_tensors(tmp_path / "parts" / name)
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected), name
    assert isinstance(whole, Completed) and isinstance(resumed, Completed)
    assert whole.evaluation == resumed.evaluation


def test_it_learns_and_stores_what_the_size_law_predicts(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    longer = tiny_experiment.updated({"schedule.epochs_per_cycle": 8})
    end, heard = run(longer, tiny_dataset, tmp_path)
    assert isinstance(end, Completed)
    assert end.evaluation.accuracy > 0.6, "four classes: chance is 0.25"
    assert min(m.valid_log_loss for m in heard) == next(m.valid_log_loss for m in heard if m.epoch == end.best_epoch)
    network, info = load_model(tmp_path / MODEL_FILE)
    items = stored_items(longer)
    assert {k: (v.numel(), v.element_size()) for k, v in network.state_dict().items()} == {
        item.name: (item.count, item.bytes_each) for item in items
    }
    assert end.stored.size_bytes == sum(item.size_bytes for item in items)
    assert info.experiment == longer
    again = Evaluator(tiny_dataset, "valid", longer.front_end, CPU).judge(network)
    assert again == end.evaluation
    assert info == rounded(replace(info, evaluation=again))
    assert (tmp_path / MODEL_FILE).stat().st_size == end.stored.file_bytes


def test_the_stored_networks_figures_have_intervals(
    tiny_experiment: Experiment, tiny_csv: Path, tmp_path: Path
) -> None:
    rows = list(csv.reader(tiny_csv.open()))
    with (tmp_path / "meta.csv").open("w", newline="") as file:  # without groups, every clip is a location of its own
        csv.writer(file).writerows([rows[0][:2], *([tiny_csv.parent / name, label] for name, label, *_ in rows[1:])])
    dataset = open_dataset(DataChoice(f"csv:{tmp_path / 'meta.csv'}"), sample_rate_hz=8000, cache=tmp_path / "cache")
    end, _ = run(tiny_experiment.updated({"schedule.epochs_per_cycle": 1}), dataset, tmp_path)
    assert isinstance(end, Completed) and end.evaluation.intervals is not None
    ends = end.evaluation.intervals.log_loss
    assert ends.low < end.evaluation.log_loss < ends.high
    _, info = load_model(tmp_path / MODEL_FILE)
    assert info == rounded(replace(info, evaluation=end.evaluation))


@pytest.fixture(params=[("int8", 3, 1), ("int8", 2, 2), ("float16", 3, 1)], ids=["int8", "growing", "float16"])
def pruned(request: pytest.FixtureRequest, tiny_experiment: Experiment) -> Experiment:
    """Six epochs in cycles of two, or in cycles of two and four."""
    storage, cycles, growth = request.param
    changes = {"compression.storage": storage, "compression.prune_ratio": 0.4, "schedule.cycles": cycles}
    return tiny_experiment.updated({**changes, "schedule.epochs_per_cycle": 2, "schedule.cycle_growth": growth})


def zeros(folder: Path, experiment: Experiment) -> dict[str, Tensor]:
    """For each stored item name, a mask of the weight's shape: true where the last checkpoint has a zero."""
    tensors, _ = read_tensors(folder / LAST_EPOCH)
    storage = experiment.compression.storage
    network = build_network(experiment.architecture, experiment.front_end, seed=0, storage=storage)
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    items = stored_items(experiment)
    return {name: weight.detach() == 0 for name, weight in prunable_weights(network, items).items()}


def test_pruned_weights_stay_zero_in_every_phase(pruned: Experiment, tiny_dataset: Dataset, tmp_path: Path) -> None:
    """After the first cycle, through the second and third, with batch norm frozen, and in the saved model."""
    seen: dict[int, dict[str, Tensor]] = {}

    def report(metrics: EpochMetrics) -> Signal:
        seen[metrics.epoch] = zeros(tmp_path, pruned)
        return Signal.CONTINUE

    end = train(pruned, tiny_dataset, folder=tmp_path, on_epoch=report, device=CPU)
    assert isinstance(end, Completed) and end.best_epoch > 2, "a network from before pruning is never stored"
    law = cost(pruned)
    count = {epoch: sum(int(mask.sum()) for mask in masks.values()) for epoch, masks in seen.items()}
    assert count[1] == count[2] == 0, "the first cycle trains all weights"
    assert count[3] == sum(law.pruned.values()) and set(count.values()) == {0, count[3]}
    assert all(torch.equal(seen[3][name], seen[epoch][name]) for name in seen[3] for epoch in range(4, 7))
    assert end.stored == law.stored
    network, _ = load_model(tmp_path / MODEL_FILE)
    state = network.state_dict()
    assert all(bool((state[name][mask] == 0).all()) for name, mask in seen[6].items())


@pytest.mark.parametrize("stop_after", [2, 3, 5], ids=["before pruning", "after pruning", "in the last cycle"])
def test_a_resumed_training_with_pruning_equals_an_uninterrupted_one(
    pruned: Experiment, tiny_dataset: Dataset, tmp_path: Path, stop_after: int
) -> None:
    whole, heard = run(pruned, tiny_dataset, tmp_path / "whole")
    run(pruned, tiny_dataset, tmp_path / "parts", stop_after=stop_after)
    resumed, heard_again = run(pruned, tiny_dataset, tmp_path / "parts")
    assert figures(heard) == figures(heard_again)
    assert (tmp_path / "whole" / MODEL_FILE).read_bytes() == (tmp_path / "parts" / MODEL_FILE).read_bytes()
    for name in (LAST_EPOCH, BEST_EPOCH):
        expected, _ = read_tensors(tmp_path / "whole" / name)
        actual, _ = read_tensors(tmp_path / "parts" / name)
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected), name
    assert isinstance(whole, Completed) and isinstance(resumed, Completed)
    assert whole.stored == resumed.stored and whole.evaluation == resumed.evaluation


@pytest.mark.parametrize(("first", "growth", "share"), [(4, 1, 0.25), (2, 3, 1 / 6)], ids=["equal", "growing"])
def test_batch_norm_is_frozen_only_in_the_last_quarter_of_the_last_cycle(
    first: int, growth: int, share: float, tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """Or in another share: in each case this is epoch 8 of 8."""
    schedule = {"schedule.cycles": 2, "schedule.epochs_per_cycle": first, "schedule.cycle_growth": growth}
    experiment = tiny_experiment.updated({**schedule, "compression.freeze_share": share})
    states = {}

    def report(metrics: EpochMetrics) -> Signal:
        tensors, _ = read_tensors(tmp_path / LAST_EPOCH)
        states[metrics.epoch] = {k: v for k, v in tensors.items() if "running_mean" in k and "stem" in k}
        return Signal.CONTINUE

    train(experiment, tiny_dataset, folder=tmp_path, on_epoch=report, device=CPU)

    def same(first: int, second: int) -> bool:
        return all(torch.equal(states[first][key], states[second][key]) for key in states[first])

    assert states[7] and same(7, 8), "epoch 8 is the last quarter of the second cycle"
    assert not any(same(epoch, epoch + 1) for epoch in range(1, 7))


def test_a_loss_that_is_not_finite_ends_as_diverged(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    wild = tiny_experiment.updated({"schedule.learning_rate_max": 1e30, "schedule.learning_rate_min": 1e29})
    end, _ = run(wild, tiny_dataset, tmp_path)
    assert isinstance(end, Diverged) and end.epoch == 1


def test_cudnn_is_left_as_it_was(tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path) -> None:
    before = torch.backends.cudnn.deterministic
    run(tiny_experiment, tiny_dataset, tmp_path, stop_after=1)
    assert torch.backends.cudnn.deterministic is before is False


def test_the_number_of_classes_must_match_the_data(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="architecture.classes=4"):
        run(tiny_experiment.updated({"architecture.classes": 10}), tiny_dataset, tmp_path)


def steps(*workers: dict[str, Any]) -> list[float]:
    """The loss of each step, summed over rows and workers."""
    return [sum(sums) for sums in zip(*(found["sums"] for found in workers), strict=True)]


@pytest.mark.parametrize(("name", "relative"), [("int8", 1e-12), ("float16", 1e-12), ("single", 1e-4)])
def test_two_workers_have_the_losses_of_one(joint: Any, name: str, relative: float) -> None:
    """Compare the losses across cycle ends, pruning and freezing, in float64, where rounding does not matter.

    "single" is float32. There, reordering the rows of a batch changes the losses as much: values near a rounding
    boundary of the fake quantisation fall on either side of it.
    """
    first, second, alone = joint.two[0][name], joint.two[1][name], joint.alone[name]
    assert steps(first, second) == pytest.approx(steps(alone), rel=relative)
    assert len(steps(alone)) == 21
    assert len(first["states"]) == 3 and first["states"] == second["states"], (
        "weights and buffers must be bit-identical"
    )
    for figure, close in (("train_loss", 1e-6), ("valid_log_loss", relative), ("valid_accuracy", 0)):
        values = [[epoch[figure] for epoch in found["epochs"]] for found in (first, second, alone)]
        assert values[0] == values[1] == pytest.approx(values[2], rel=max(close, 1e-15))


def test_two_workers_learn_from_a_teacher_as_one_does(joint: Any) -> None:
    """Of a row whose partner is the other worker's, too: every step mixes such rows."""
    first, second, alone = joint.two[0]["taught"], joint.two[1]["taught"], joint.alone["taught"]
    assert steps(first, second) == pytest.approx(steps(alone), rel=1e-12), "the share of the labels"
    assert first["states"] == second["states"]
    for figure, close in (("train_loss", 1e-6), ("valid_log_loss", 1e-12)):
        values = [[epoch[figure] for epoch in found["epochs"]] for found in (first, second, alone)]
        assert len(values[0]) == 2 and values[0] == values[1] == pytest.approx(values[2], rel=close)
    without = joint.alone["int8"]["epochs"]
    assert alone["epochs"][0]["train_loss"] != without[0]["train_loss"]


def test_two_workers_store_one_network(joint: Any) -> None:
    first, second, alone = (found["single"] for found in (*joint.two, joint.alone))
    assert first["outcome"] == second["outcome"] == alone["outcome"] == "Completed"
    assert first["end"]["evaluation"] == second["end"]["evaluation"]
    assert first["end"]["stored"] == second["end"]["stored"] == alone["end"]["stored"]
    assert first["end"]["evaluation"]["log_loss"] == pytest.approx(alone["end"]["evaluation"]["log_loss"], rel=1e-4)
    network, info = load_model(joint.folder / "single" / MODEL_FILE)
    assert info.evaluation.log_loss == round(first["end"]["evaluation"]["log_loss"], 4)


def test_a_batch_may_have_fewer_clips_than_workers(joint: Any) -> None:
    states = [found["few"]["states"] for found in joint.three]
    assert len(states[0]) == 2 and states[0] == states[1] == states[2]
    losses = [[epoch["train_loss"] for epoch in found["few"]["epochs"]] for found in (*joint.three, joint.alone)]
    assert losses[0] == losses[1] == losses[2] == pytest.approx(losses[3], rel=1e-5)


def test_a_stop_signal_to_one_worker_stops_all(joint: Any) -> None:
    for found in joint.two:
        assert found["two_then_one"]["outcome"] == "Stopped" and found["two_then_one"]["end"] == {"epoch": 3}


def test_a_training_can_resume_with_another_number_of_workers(joint: Any) -> None:
    """Epochs in the checkpoint are reported again, not trained again, with the same metrics on all workers."""
    before, after = joint.two[0]["two_then_one"]["epochs"], joint.two_then_one["epochs"]
    assert len(after) == 6 and after[:3] == before and len(joint.two_then_one["sums"]) == 3
    first, second = (found["one_then_two"] for found in joint.two)
    assert len(first["epochs"]) == 6 and first["epochs"][:3] == second["epochs"][:3]
    assert len(first["sums"]) == len(second["sums"]) == 3 and first["states"] == second["states"]
    assert first["outcome"] == second["outcome"] == joint.two_then_one["outcome"] == "Completed"
    losses = [[epoch["train_loss"] for epoch in found] for found in (after, first["epochs"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2), "the training must not depend on which part had two workers"


def test_workers_diverge_together(joint: Any) -> None:
    assert [found["wild"]["outcome"] for found in (*joint.two, joint.alone)] == ["Diverged"] * 3
    assert [found["wild"]["end"] for found in joint.two] == [joint.alone["wild"]["end"]] * 2


def test_workers_that_see_different_checkpoints_refuse_to_go_on(joint: Any) -> None:
    assert all("see different checkpoints" in found["apart"] for found in joint.two)
