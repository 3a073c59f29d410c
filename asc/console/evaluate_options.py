"""The command line of launch/evaluate.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.console import cli


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Evaluate a stored network: log loss, accuracy and calibration error, with 95 % intervals over locations.

    Log loss and accuracy are also given per class, per device, and for devices seen and unseen in training. A folder
    beside the model gets evaluation.json, table.md (in the challenge's layout), confusion.png, reliability.png and
    predictions.csv (a DCASE task 1a submission). For clips without labels it gets only predictions.csv. On the valid
    split it also gets mistakes.json, the misclassified clips with their sound, for the report page.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, or the NAME of a run in runs/ (its best network), or one of its trials, such as NAME/t005."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """Data with the model's labels, named as in training; by default those it was trained on, with the same splits."""
    split: Literal["valid", "calibration", "confirmation", "test"] = "valid"
    """valid (which chose the best epoch), calibration, confirmation (which chose the finalist, in a search with
    --final-top whose trials were calibrated), or test (use it once, at the end)."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """Impulse responses of the devices to apply to the clips; by default those of the training (other --data: none)."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Finds the sources of other --data in file names; by default as in training, if those data are of the same kind.
    none: every file is its own source."""
    output: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for the files; by default evaluation-SPLIT beside the model, plus its name if that is not
    model.safetensors. Files of an earlier evaluation are replaced."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Folder for packed audio; by default $ASC_CACHE or ~/.cache/asc."""
    quiet: bool = False
    """Print no progress: only results, and what went wrong."""
    json: bool = False
    """Print one JSON object on standard output."""

    @property
    def folder(self) -> Path:
        """The folder to write the files to."""
        other = "" if self.model.stem == "model" else f"-{self.model.stem}"
        return self.output or self.model.parent / f"evaluation-{self.split}{other}"
