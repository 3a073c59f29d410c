"""Command line options that several launch scripts share: which config, and which data."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from asc.config.data_choice import DataChoice
from asc.config.data_guess import guessed
from asc.config.experiment import Experiment
from asc.config.recipes.loading import OfRun, experiment_from
from asc.console.cli import option
from asc.model_file.model_header import experiment_in


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """A recipe or a config file, and changes to it."""

    recipe: Annotated[str | None, option("NAME")] = None
    """A shipped recipe: qat_8b (the default), 8b_calibm, 8b_calibo or 16b_prune, the report's systems 1 to 4."""
    config: Annotated[str | None, option("FILE")] = None
    """Instead of a recipe, use the config of a run in runs/: NAME (its best trial) or NAME/t005 (any trial). Or use a
    TOML file, such as runs/NAME/best/config.toml, or the config stored in a model file."""
    overrides: Annotated[
        tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE"), tyro.conf.UseAppendAction
    ] = ()
    """Change a value of the config, such as --set architecture.cardinality=8; may be given several times."""

    def experiment(self, of_run: OfRun) -> Experiment:
        """Return the config that these options specify (`of_run` and errors as in `experiment_from`)."""
        return experiment_from(
            recipe=self.recipe, config=self.config, overrides=self.overrides, of_model=experiment_in, of_run=of_run
        )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """A data set, and the options that decide its clips and splits."""

    data: Annotated[str, option("SPEC")] = "synthetic"
    """synthetic (the default), tau2020:DIR, tau2022:DIR, tau2025:DIR, esc10:DIR, csv:FILE, folder:DIR, or DIR alone:
    then its kind is guessed."""
    fold: int = 1
    """The test fold, which training never sees, for data that have folds."""
    data_seed: int = 0
    """Random seed for drawing the validation and calibration clips."""
    device_irs: Annotated[str | None, option("DIR")] = None
    """Microphone impulse responses (MicIRP), which turn data of one device into data of nine, three in test only."""
    augment_irs: Annotated[str | None, option("DIR")] = None
    """Impulse responses for augment.impulse_response_p; by default those of --device-irs."""
    holdout_devices: Annotated[str | None, option("NAMES")] = None
    """Keep these devices out of training, as s2,s3, and validate and calibrate on them alone: so that validation says
    what devices will say that were never heard."""
    group_from: Annotated[str | None, option("REGEX")] = None
    """Keep files of the same source in one split, for folder:DIR and csv:FILE without groups: the parentheses in this
    regular expression capture the source's name, as '/(\\d+-\\d+)-' captures 1-17808 in dog/1-17808-A.ogg."""
    split: Literal["development", "all"] = "development"
    """all: train a final model on every clip, including the test fold, so that it cannot be evaluated there."""

    def choice(self) -> DataChoice:
        """Return the data that these options specify."""
        return DataChoice(
            guessed(self.data),
            fold=self.fold,
            data_seed=self.data_seed,
            device_irs=self.device_irs,
            part=self.split,
            group_from=self.group_from,
            augment_irs=self.augment_irs,
            holdout_devices=self.holdout_devices,
        )
