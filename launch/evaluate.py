"""Evaluate a trained model on a split that it was not trained on. Only this script reads the test fold.

python launch/evaluate.py runs/NAME/best/model.safetensors
python launch/evaluate.py runs/NAME/best/model.safetensors --data tau2020:DIR --split test
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.console import cli, tables
from asc.console.evaluation_text import About, about_tree, tree
from asc.results import Examination


@dataclass(frozen=True, kw_only=True)
class Options:
    """Evaluate a stored network: log loss, accuracy and calibration error, with 95 % intervals over locations.

    Log loss and accuracy are also given per class, per device, and for devices seen and unseen in training. A folder
    beside the model gets evaluation.json, table.md (in the challenge's layout), confusion.png, reliability.png and
    predictions.csv (a DCASE task 1a submission). For clips without labels it gets only predictions.csv.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, or the NAME of a run in runs/ (its best network), or one of its trials, such as NAME/t005."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """Data with the model's labels, named as in training; by default those it was trained on, with the same splits."""
    split: Literal["valid", "calibration", "test"] = "valid"
    """valid (which chose the best epoch), calibration, or test (use it once, at the end)."""
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
    json: bool = False
    """Print one JSON object on standard output."""

    @property
    def folder(self) -> Path:
        """The folder to write the files to."""
        other = "" if self.model.stem == "model" else f"-{self.model.stem}"
        return self.output or self.model.parent / f"evaluation-{self.split}{other}"


def main(options: Options) -> int:
    """Load the model, open the data with the model's own fold, evaluate, write the files and print the figures."""
    import torch

    from asc.console.output_folder import prepare
    from asc.console.progress import packing
    from asc.data.dataset import default_cache
    from asc.evaluation import caveats
    from asc.evaluation.evaluate import Evaluator, open_for
    from asc.model_file.artefact import load_model
    from asc.report import folder
    from asc.runs import named

    output = cli.Output(as_json=options.json)
    options = dataclasses.replace(options, model=named.model_file(options.model))
    network, info = load_model(options.model)
    with packing(output.progress) as bar:
        dataset = open_for(
            info,
            options.data,
            options.split,
            cache=options.cache or default_cache(),
            progress=bar,
            device_irs=options.device_irs,
            group_from=options.group_from,
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    own = dataset.manifest.digest == info.data.digest
    evaluator = Evaluator(dataset, options.split, info.experiment.front_end, device, own=own)
    prepare(options.folder)
    logits, clips = evaluator.logits(network.to(device))
    predictions = evaluator.predictions(logits, clips, info.labels)
    examination = evaluator.examine(logits, clips) if dataset.manifest.labelled else None
    about = caveats.about(info, dataset.manifest, options.split, examination, model=options.model)
    try:
        files = folder.write(options.folder, predictions, examination, about)
    finally:  # the figures took long to compute, so print them even if the disk is full
        _print(output, options, examination, about)
    output.result(f"written to {options.folder}{about.mark}: {', '.join(file.name for file in files)}")
    return cli.DONE


def _print(output: cli.Output, options: Options, examination: Examination | None, about: About) -> None:
    output.notes(about.notes)
    if examination is not None:
        for table in tables.evaluation_tables(examination.evaluation, about):
            output.result(table)
    output.json(
        {**(about_tree(about) if examination is None else tree(examination, about)), "output": str(options.folder)}
    )


if __name__ == "__main__":
    cli.launch(main, Options)
