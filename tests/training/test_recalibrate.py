"""Calibrating a saved model gives the same result as calibrating at the end of its training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asc.config.data_choice import DataChoice
from asc.config.experiment import Calibration, Experiment
from asc.data.dataset import Dataset, open_dataset
from asc.errors import InputError
from asc.model_file.artefact import load_model
from asc.model_file.model_info import rounded
from asc.results import Split
from asc.run_files import MODEL_FILE
from asc.training.recalibrate import check_target, recalibrate
from asc.training.train import train
from asc.training_results import Completed, Signal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def open_(tiny_csv: Path, tiny_cache: Path):
    def opened(*splits: Split) -> Dataset:
        return open_dataset(DataChoice(f"csv:{tiny_csv}"), sample_rate_hz=8000, cache=tiny_cache, splits=splits)

    return opened


@pytest.fixture(scope="module")
def timid(tiny_experiment: Experiment) -> Experiment:
    """Few steps and much mixup make the network under-confident."""
    return tiny_experiment.updated({"schedule.epochs_per_cycle": 5, "augment.mixup_alpha": 2.0})


@pytest.fixture(scope="module")
def model(timid: Experiment, open_, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    train(timid, open_("train", "valid"), folder=folder, on_epoch=lambda metrics: Signal.CONTINUE, device=CPU)
    return folder / MODEL_FILE


@pytest.mark.parametrize("method", ["multinomial", "one_vs_rest", "temperature"])
def test_it_equals_a_training_that_calibrates(
    timid: Experiment, open_, model: Path, tmp_path: Path, method: str
) -> None:
    asked = timid.updated({"calibration.method": method})
    end = train(
        asked,
        open_("train", "valid", "calibration"),
        folder=tmp_path,
        on_epoch=lambda metrics: Signal.CONTINUE,
        device=CPU,
    )
    assert isinstance(end, Completed) and end.calibration is not None
    network, info = load_model(model)
    done = recalibrate(network, info, open_("valid", "calibration"), asked.calibration, CPU)
    expected, expected_info = load_model(tmp_path / MODEL_FILE)
    assert done.report == end.calibration and rounded(done.info) == expected_info
    assert done.info.experiment == asked
    assert done.after == end.evaluation and rounded(replace(info, evaluation=done.before)) == info
    state = done.network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.state_dict().items())


def test_a_calibrated_model_is_not_calibrated_again(open_, model: Path) -> None:
    network, info = load_model(model)
    dataset = open_("valid", "calibration")
    done = recalibrate(network, info, dataset, Calibration(method="multinomial"), CPU)
    assert done.report.applied, "the fixture must gain from calibration"
    with pytest.raises(InputError, match="already calibrated"):
        recalibrate(done.network, done.info, dataset, Calibration(method="temperature"), CPU)


def test_the_single_temperature_is_evaluated_even_if_it_is_not_applied(
    tiny_csv: Path, tiny_cache: Path, model: Path
) -> None:
    """Some clips have the label of another one: of a network without errors, no temperature changes the figures."""
    header, *rows = [line.split(",") for line in tiny_csv.read_text().splitlines()]
    swapped = [
        [row[0], rows[number - 40][1] if number % 5 == 0 else row[1], *row[2:]] for number, row in enumerate(rows)
    ]
    wrong = tiny_csv.with_name("some_labels_swapped.csv")
    wrong.write_text("\n".join(map(",".join, [header, *swapped])))
    dataset = open_dataset(
        DataChoice(f"csv:{wrong}"), sample_rate_hz=8000, cache=tiny_cache, splits=("valid", "calibration")
    )
    network, info = load_model(model)
    first = recalibrate(network, info, dataset, Calibration(method="temperature"), CPU)
    plain = replace(first.info, calibration=None)
    again = recalibrate(first.network, plain, dataset, Calibration(method="temperature"), CPU)
    assert not again.report.applied and again.after == again.before
    assert again.tempered != again.before, "it is still fused, as a reference"


def test_the_given_model_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the given model, which is never overwritten"):
        check_target(model.parent / "." / model.name, model)
    with pytest.raises(InputError, match="is a folder"):
        check_target(tmp_path, model)
    with pytest.raises(InputError, match="cannot be written"):
        check_target(Path("/proc/x.safetensors"), model)
    check_target(tmp_path / "new" / "x.safetensors", model)


def test_a_fit_on_test_clips_is_optimistic(open_, model: Path) -> None:
    network, info = load_model(model)
    asked = Calibration(method="multinomial", fit_on="test")
    done = recalibrate(network, info, open_("valid", "test"), asked, CPU)
    assert done.report.split == "test" and done.report.applied and done.report.optimistic
    assert done.info.calibration is not None and done.info.calibration.optimistic
