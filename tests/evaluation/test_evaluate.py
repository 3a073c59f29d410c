"""Evaluation on whole clips of several lengths, against scikit-learn and one clip at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

from asc.audio.frontend import LogMel
from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.data.manifest import load_manifest
from asc.errors import InputError
from asc.evaluation.evaluate import Evaluator, open_for
from asc.model_file.model_info import DataIdentity, longest
from asc.models.build import build_network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network(tiny_experiment: Experiment) -> torch.nn.Module:
    network = build_network(tiny_experiment.architecture, tiny_experiment.front_end, seed=0)
    network.train()
    network(torch.randn(8, 1, 16, 40))
    return network.eval()


def test_logits_equal_those_of_one_clip_at_a_time(
    tiny_experiment: Experiment, tiny_dataset: Dataset, network: torch.nn.Module
) -> None:
    logits, clips = Evaluator(tiny_dataset, "valid", tiny_experiment.front_end, CPU).logits(network)
    assert sorted(clips.tolist()) == tiny_dataset.indices("valid").tolist()
    assert len({tiny_dataset.samples(clip) for clip in clips.tolist()}) > 1, "the set has clips of several lengths"
    log_mel = LogMel(tiny_experiment.front_end)
    for clip, row in zip(clips.tolist(), logits, strict=True):
        alone = network(log_mel(torch.from_numpy(tiny_dataset.waveform(clip)).unsqueeze(0)))
        torch.testing.assert_close(alone[0].double(), row, rtol=0, atol=1e-4)


def test_judge_and_logits_run_one_clip_at_a_time(
    tiny_experiment: Experiment, tiny_dataset: Dataset, network: torch.nn.Module
) -> None:
    seen: list[int] = []

    def counted(log_mel: torch.Tensor) -> torch.Tensor:
        seen.append(len(log_mel))
        found: torch.Tensor = network(log_mel)
        return found

    evaluator, clips = Evaluator(tiny_dataset, "valid", tiny_experiment.front_end, CPU), tiny_dataset.indices("valid")
    for alone in (evaluator.logits, evaluator.judge):
        alone(counted)
        assert seen == [1] * len(clips)
        seen.clear()
    evaluator.evaluate(counted)
    assert sum(seen) == len(clips) and len(seen) == len({tiny_dataset.samples(int(clip)) for clip in clips})


def test_figures_equal_scikit_learn(
    tiny_experiment: Experiment, tiny_dataset: Dataset, network: torch.nn.Module
) -> None:
    evaluator = Evaluator(tiny_dataset, "valid", tiny_experiment.front_end, CPU)
    logits, clips = evaluator.logits(network)
    targets = np.array([tiny_dataset.target(clip) for clip in clips.tolist()])
    probabilities = torch.softmax(logits.double(), dim=1).numpy()
    weights = 1 / np.bincount(targets)[targets]
    found = evaluator.evaluate(network)
    assert found.clips == len(targets)
    in_batches, alone = found, evaluator.judge(network)
    for figure in ("accuracy", "log_loss", "micro_accuracy", "micro_log_loss"):
        assert getattr(in_batches, figure) == pytest.approx(getattr(alone, figure), rel=1e-5)
    assert found.accuracy == pytest.approx(balanced_accuracy_score(targets, probabilities.argmax(1)))
    assert found.log_loss == pytest.approx(log_loss(targets, probabilities, sample_weight=weights, labels=range(4)))
    assert found.micro_log_loss == pytest.approx(log_loss(targets, probabilities, labels=range(4)))
    assert alone == evaluator.examine(logits, clips).evaluation


def test_other_labels_are_refused(tiny_experiment: Experiment, tiny_csv: Path, tiny_cache: Path) -> None:
    data = DataIdentity(choice=DataChoice(f"csv:{tiny_csv}"), digest="")
    two = tiny_experiment.updated({"architecture.classes": 2})
    info = longest(two, ("bus", "tram"), data)
    with pytest.raises(InputError, match="bus, tram"):
        open_for(info, None, "valid", cache=tiny_cache, progress=lambda done, total: None)


def test_the_confirmation_split_is_opened_where_a_search_set_it_aside(
    tiny_experiment: Experiment, tiny_dataset: Dataset, tiny_csv: Path, tiny_cache: Path
) -> None:
    alone = tiny_csv.with_name("alone.csv")  # each clip is its own group, so that there are enough to halve
    rows = [line.split(",") for line in tiny_csv.read_text().splitlines()]
    alone.write_text(
        "\n".join(",".join([*row[:3], "group" if n == 0 else row[0], row[4]]) for n, row in enumerate(rows))
    )

    def opened(choice: DataChoice) -> Dataset:
        info = longest(tiny_experiment, tiny_dataset.labels, DataIdentity(choice=choice, digest=""))
        return open_for(info, None, "confirmation", cache=tiny_cache, progress=lambda done, total: None)

    confirmation = opened(DataChoice(f"csv:{alone}", part="confirmed")).indices("confirmation")
    calibration = load_manifest(DataChoice(f"csv:{alone}")).count("calibration")
    assert 0 < len(confirmation) < calibration
    with pytest.raises(InputError, match="the model's data have no confirmation split"):
        opened(DataChoice(f"csv:{alone}"))
