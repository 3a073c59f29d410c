"""What a worker does without Ray: it trains an order and, for a final, judges the stored network on unseen clips."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.data.dataset import open_dataset
from asc.data.manifest import load_manifest
from asc.evaluation.evaluate import Evaluator
from asc.model_file.artefact import load_model
from asc.model_file.teacher_logits import TeacherLogits, write_teacher_logits
from asc.models.workers import ALONE
from asc.results import Split, TeacherNetwork
from asc.search.cluster.trial import Message, TrialOrder, carry_out, config_of, order_of
from asc.search.final import confirmation_split


@pytest.fixture(scope="module")
def many_places(tiny_csv: Path) -> Path:
    """The tiny set with every clip at a place of its own, so that its calibration split can be halved."""
    with tiny_csv.open(newline="") as file:
        rows = [{**row, "group": row["filename"]} for row in csv.DictReader(file)]
    path = tiny_csv.with_name("many_places.csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def order(experiment: Experiment, choice: DataChoice, cache: Path, folder: Path, confirm: Split | None) -> TrialOrder:
    return TrialOrder(
        config=experiment.flat(),
        data=choice,
        data_digest=load_manifest(choice).digest,
        cache=str(cache),
        folder=str(folder / "trials" / "t000"),
        threads=1,
        journalled=0,
        on_gpu=False,
        shared=False,
        confirm=confirm,
    )


def told(given: TrialOrder) -> list[Message]:
    """The messages of a worker that carries out an order as it comes from Ray."""
    messages: list[Message] = []
    carry_out(order_of(config_of(given)), messages.append, lambda: ALONE)
    return messages


@pytest.mark.parametrize(("part", "method"), [("confirmed", "temperature"), ("development", "none")])
def test_the_network_of_a_final_is_judged_as_stored_on_clips_that_its_training_never_opens(
    tmp_path: Path, many_places: Path, tiny_cache: Path, tiny_experiment: Experiment, part: str, method: str
) -> None:
    choice = DataChoice(f"csv:{many_places}", part=part)  # type: ignore[arg-type]
    split = confirmation_split(choice)
    experiment = tiny_experiment.updated({"calibration.method": method, "schedule.epochs_per_cycle": 1})
    given = order(experiment, choice, tiny_cache, tmp_path, split)
    *epochs, last = told(given)
    assert [message.epoch is not None for message in epochs] == [True, True]
    assert last.completed is not None and last.completed.confirmation is not None
    found = last.completed.confirmation
    dataset = open_dataset(choice, sample_rate_hz=8000, cache=tiny_cache, splits=(split,))
    network, info = load_model(Path(given.folder) / "model.safetensors")
    judged = Evaluator(dataset, split, info.experiment.front_end, torch.device("cpu")).judge(network)
    assert (found.split, found.log_loss, found.accuracy) == (split, judged.log_loss, judged.accuracy)
    assert found.clips == len(dataset.indices(split)) > 0
    assert info.calibration is None or info.calibration.clips == dataset.manifest.count("calibration")


def test_a_final_learns_from_the_soft_labels_of_the_run_and_other_ones_halt_the_search(
    tmp_path: Path, tiny_csv: Path, tiny_cache: Path, tiny_experiment: Experiment
) -> None:
    choice = DataChoice(f"csv:{tiny_csv}")
    clips = [clip for clip in load_manifest(choice).clips if clip.split == "train"]
    labels = load_manifest(choice).labels
    teacher = TeacherLogits(
        source="",
        files=tuple(clip.path for clip in clips),
        labels=labels,
        logits=torch.tensor([[[4.0 * (clip.label == label) for label in labels] for clip in clips]]),
        teachers=(TeacherNetwork(name="t003"),),
    )
    write_teacher_logits(tmp_path / "soft_labels.safetensors", teacher)
    experiment = tiny_experiment.updated({"schedule.epochs_per_cycle": 1})
    given = replace(
        order(experiment, choice, tiny_cache, tmp_path, None),
        teacher=str(tmp_path / "soft_labels.safetensors"),
        teacher_digest=teacher.taught.digest,
    )
    (last,) = told(replace(given, teacher_digest="another"))
    assert last.halt is not None and "soft_labels.safetensors is not what the search wrote: put that file" in last.halt
    (last,) = told(replace(given, teacher=str(tmp_path / "gone.safetensors")))
    assert last.halt is not None and "gone.safetensors does not exist" in last.halt
    *_, last = told(given)
    assert last.completed is not None
    assert load_model(Path(given.folder) / "model.safetensors")[1].taught == teacher.taught


def test_a_trial_is_not_judged_on_those_clips(
    tmp_path: Path, many_places: Path, tiny_cache: Path, tiny_experiment: Experiment
) -> None:
    experiment = tiny_experiment.updated({"schedule.epochs_per_cycle": 1})
    last = told(order(experiment, DataChoice(f"csv:{many_places}"), tiny_cache, tmp_path, None))[-1]
    assert last.completed is not None and last.completed.confirmation is None
