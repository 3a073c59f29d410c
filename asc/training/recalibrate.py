"""A trained model file, calibrated: the same training gives the report's systems 1, 2 and 3."""

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
    """The network as it ships now and what its file says; and figures on validation, none of whose clips was fitted on.

    `tempered` is the network with a single temperature instead, the reference beside every calibration, gain or not.
    """

    network: StoredNet
    info: ModelInfo
    report: CalibrationReport
    before: Evaluation
    tempered: Evaluation
    after: Evaluation


def check_uncalibrated(info: ModelInfo) -> None:
    """Check that a model has no calibration in it.

    Raises:
        InputError: it has.
    """
    if info.calibration is not None and info.calibration.applied:
        raise InputError(
            f"the model is calibrated already ({info.calibration.method}): give the one it was made from, before that"
        )


def check_target(target: Path, model: Path) -> None:
    """Check, before anything is computed, that a calibrated model can be written to `target`.

    Raises:
        InputError: it is the given model, a folder, or its folder cannot be written to.
        OSError: the disk is full.
    """
    if target.resolve() == model.resolve():
        raise InputError(f"{target} is the given model itself, which stays as it is: give another file as --output")
    if target.is_dir():
        raise InputError(f"--output {target} is a folder: give a file in it, such as {target / 'model.safetensors'}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        if disk_is_full(error):
            raise
        raise InputError(f"--output {target} cannot be written ({error.strerror}): give a file of yours") from error


def recalibrate(
    network: StoredNet, info: ModelInfo, dataset: Dataset, calibration: Calibration, device: torch.device
) -> Recalibrated:
    """Calibrate a stored network; `dataset` is the one it was trained on, valid and the split to fit on being open.

    Raises:
        InputError: it is calibrated already, no clip was held out from its training, or the split is too small; or the
            network is pruned and the method would fill its zeros.
    """
    check_uncalibrated(info)
    if not dataset.manifest.held_out:
        raise InputError("the model was trained on every clip of its data (--split all): none is left to calibrate on")
    experiment = dataclasses.replace(info.experiment, calibration=calibration)
    cooler = dataclasses.replace(experiment, calibration=dataclasses.replace(calibration, method="temperature"))
    fused, report = calibrated(network, experiment, dataset, device)
    tempered, _ = calibrated(network, cooler, dataset, device, strength=0.0)
    assert report is not None, "a method was asked for"
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
