"""Calibrate a trained model: fit factors on its logits to held-out clips, and fuse them into its last layer.

python launch/calibrate.py runs/NAME/best/model.safetensors --method multinomial
python launch/calibrate.py runs/NAME/best/model.safetensors --method temperature --output cooler.safetensors
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.config.experiment import Calibration, method_for
from asc.console import cli, tables
from asc.results import CalibrationMethod

_WHY = {
    "multinomial": "the default; --method temperature is a single factor, for few clips",
    "temperature": "the network is pruned, and any other method would undo its zeros",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make a calibrated model of the same size from a trained one, such as the report's systems 2 and 3 from system 1.

    The factors are fitted on the calibration split, whose clips the training never saw. They are applied only if their
    gain in grouped cross-validation is larger than its standard error. The effect is shown on the validation split.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model that is not calibrated: a file, or the NAME of a run in runs/ (its best network), or one of its trials,
    such as NAME/t005."""
    method: Annotated[
        Literal["temperature", "multinomial", "one_vs_rest"] | None, tyro.conf.arg(help_behavior_hint="")
    ] = None
    """One factor for all logits; or 10 x 10 factors by multinomial (system 2) or one-vs-rest regression (system 3). By
    default multinomial, or temperature if the network is pruned, because the others would undo its zeros."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """The data that the model was trained on, if they have moved."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """The impulse responses that the model was trained with, if they have moved."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Finds the sources of other --data in file names; by default as in training, if those data are of the same kind.
    none: every file is its own source."""
    calibrate_on_test: bool = False
    """Fit on the test fold, as for the starred rows of the report; figures on that fold are then optimistic."""
    output: Annotated[Path | None, cli.option("FILE")] = None
    """File for the calibrated model; by default model-METHOD.safetensors beside the given one."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for packed audio; by default $ASC_CACHE or ~/.cache/asc."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""

    def chosen(self, prune_ratio: float) -> CalibrationMethod:
        """The method that was given, or else the one that fits a network of which this share is pruned."""
        return self.method or method_for("multinomial", prune_ratio)

    def target(self, method: str) -> Path:
        """The file to write the calibrated model to."""
        optimistic = "-optimistic" if self.calibrate_on_test else ""
        return self.output or self.model.with_name(f"model-{method}{optimistic}.safetensors")


def main(options: Options) -> int:
    """Load, calibrate and store the model, and print the gain on clips that were not fitted on."""
    import torch

    from asc.console.progress import packing
    from asc.data.dataset import default_cache, open_dataset
    from asc.data.manifest import load_manifest
    from asc.evaluation import caveats
    from asc.launchers import command
    from asc.model_file.artefact import load_model, save_model
    from asc.runs import named
    from asc.training import recalibrate

    output = cli.Output(as_json=options.json, quiet=options.quiet)
    options = dataclasses.replace(options, model=named.model_file(options.model))
    network, info = load_model(options.model)
    recalibrate.check_uncalibrated(info)
    method = options.chosen(info.experiment.compression.prune_ratio)
    target = options.target(method)
    recalibrate.check_target(target, options.model)
    calibration = Calibration(method=method, fit_on="test" if options.calibrate_on_test else "calibration")
    choice = caveats.choice_for(info, options.data, options.device_irs, group_from=options.group_from)
    caveats.check_training_data(info, load_manifest(choice))
    with packing(output.progress) as bar:
        dataset = open_dataset(
            choice,
            sample_rate_hz=info.experiment.front_end.sample_rate_hz,
            cache=options.cache or default_cache(),
            splits=("valid", calibration.fit_on),
            progress=bar,
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    done = recalibrate.recalibrate(network.to(device), info, dataset, calibration, device)
    if options.method is None:
        output.say(f"method {method}: {_WHY[method]}")
    save_model(target, done.network, done.info)
    output.result(tables.recalibrated(done.before, done.tempered, done.after, done.report))
    output.result(tables.calibration_text(done.report))
    output.result(tables.what_calibration_changes(method))
    output.result(f"stored network: {target}")
    output.result(f"next: {command('evaluate')} {target} --split test")
    output.json(
        {
            "model": str(target),
            "optimistic": done.report.optimistic,
            "calibration": dataclasses.asdict(done.report),
            "valid": {
                "before": dataclasses.asdict(done.before),
                "temperature": dataclasses.asdict(done.tempered),
                "after": dataclasses.asdict(done.after),
            },
        }
    )
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
