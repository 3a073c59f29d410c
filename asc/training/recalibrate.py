"""Calibrates a trained model, so that one training gives the technical report's systems 1, 2 and 3."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from asc.config.experiment import Calibration
from asc.data.dataset import Dataset
from asc.errors import InputError, disk_is_full
from asc.evaluation.evaluate import Evaluator
from asc.model_file.model_info import ModelInfo
from asc.models.stored import StoredNet
from asc.results import CalibrationReport, Evaluation
from asc.training.compress import calibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrated:
    """The calibrated network with the information for its file, and figures on validation, which was not fitted on.

    `tempered` has the figures with a single temperature instead, as the reference, even if that is no gain.
    """

    network: StoredNet
    info: ModelInfo
    report: CalibrationReport
    before: Evaluation
    tempered: Evaluation
    after: Evaluation


def check_uncalibrated(info: ModelInfo) -> None:
    """Check that a model is not calibrated.

    Raises:
        InputError: it is.
    """
    if info.calibration is not None and info.calibration.applied:
        raise InputError(
            f"the model is already calibrated ({info.calibration.method}): give the uncalibrated model it was made from"
        )


def check_target(target: Path, model: Path) -> None:
    """Check, before anything is computed, that a calibrated model can be written to `target`.

    Raises:
        InputError: `target` is the given model or a folder, or its folder cannot be written.
        OSError: the disk is full.
    """
    if target.resolve() == model.resolve():
        raise InputError(f"--output {target} is the given model, which is never overwritten: give another file")
    if target.is_dir():
        raise InputError(f"--output {target} is a folder: give a file in it, such as {target / 'model.safetensors'}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        if disk_is_full(error):
            raise
        raise InputError(f"--output {target} cannot be written ({error.strerror}): give another file") from error


def recalibrate(
    network: StoredNet, info: ModelInfo, dataset: Dataset, calibration: Calibration, device: torch.device
) -> Recalibrated:
    """Calibrate a stored network on `dataset`, which it was trained on; valid and the calibration's split must be open.

    Raises:
        InputError: the network is already calibrated, no clip was held out from its training, the split is too small,
            or the network is pruned and the method would make its zeros nonzero.
    """
    check_uncalibrated(info)
    if not dataset.manifest.held_out:
        raise InputError(
            "the model was trained on every clip of its data (--split all), so none is left to calibrate on: "
            "give a model that was trained without --split all"
        )
    experiment = dataclasses.replace(info.experiment, calibration=calibration)
    cooler = dataclasses.replace(experiment, calibration=dataclasses.replace(calibration, method="temperature"))
    fused, report = calibrated(network, experiment, dataset, device)
    tempered, _ = calibrated(network, cooler, dataset, device, strength=0.0)
    assert report is not None, "the experiment has a calibration method"
    validator = Evaluator(dataset, "valid", experiment.front_end, device)
    after = validator.judge(fused)
    return Recalibrated(
        network=fused,
        info=dataclasses.replace(info, experiment=experiment, evaluation=after, calibration=report),
        report=report,
        before=validator.judge(network),
        tempered=validator.judge(tempered),
        after=after,
    )
