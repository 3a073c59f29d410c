"""Command line options that several launch scripts share: which config, and which data."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from asc.config.data_choice import DataChoice
from asc.config.experiment import Experiment
from asc.config.recipes.loading import experiment_from
from asc.console.cli import option
from asc.model_file.model_header import experiment_in


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """A recipe or a file, and changes to it."""

    recipe: Annotated[str | None, option("NAME")] = None
    """A shipped recipe: qat_8b (the default), 8b_calibm, 8b_calibo or 16b_prune, the report's systems 1 to 4."""
    config: Annotated[str | None, option("FILE")] = None
    """A config in TOML instead of a recipe, such as runs/NAME/best/config.toml of a search, or a model file, such as
    runs/NAME/trials/t005/model.safetensors, whose config is taken."""
    overrides: Annotated[
        tuple[str, ...], tyro.conf.arg(name="set", metavar="KEY=VALUE"), tyro.conf.UseAppendAction
    ] = ()
    """Change a value of the config; may be given several times, such as --set architecture.cardinality=8."""

    def experiment(self) -> Experiment:
        """The config that these options ask for (errors as `experiment_from`)."""
        return experiment_from(recipe=self.recipe, config=self.config, overrides=self.overrides, of_model=experiment_in)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """A data set, and what decides its clips and splits."""

    data: Annotated[str, option("SPEC")] = "synthetic"
    """synthetic (the default), tau2020:DIR, tau2022:DIR, esc10:DIR, csv:FILE or folder:DIR."""
    fold: int = 1
    """The test fold, which training never sees, where the data have folds."""
    data_seed: int = 0
    """Draws the validation and calibration clips."""
    device_irs: Annotated[str | None, option("DIR")] = None
    """Impulse responses of microphones (MicIRP): makes data of one device a set of nine, three of them in test only."""
    group_from: Annotated[str | None, option("REGEX")] = None
    """Keeps files of one source in one split, for folder:DIR and csv:FILE without groups: what is in the parentheses of
    this regular expression names the source, as '/(\\d+-\\d+)-' does in dog/1-17808-A.ogg."""
    split: Literal["development", "all"] = "development"
    """all: a final model, trained on every clip, those of the test fold included; it cannot be evaluated on them."""

    def choice(self) -> DataChoice:
        """The data that these options ask for."""
        return DataChoice(
            self.data,
            fold=self.fold,
            data_seed=self.data_seed,
            device_irs=self.device_irs,
            part=self.split,
            group_from=self.group_from,
        )
