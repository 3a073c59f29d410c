"""Evaluate a trained model on a split that it was not trained on; the only way to the test fold.

python launch/evaluate.py runs/NAME/best/model.safetensors
python launch/evaluate.py runs/NAME/best/model.safetensors --data tau2020:DIR --split test
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc.console import cli, tables
from asc.console.evaluation_text import About, about_tree, tree
from asc.results import Examination


@dataclass(frozen=True, kw_only=True)
class Options:
    """Judge a stored network: log loss, accuracy and calibration error, with 95 % intervals over locations.

    Both per class and per device, and for devices that were seen in training against unseen ones. A folder beside the
    model takes evaluation.json, table.md (as the challenge prints it), confusion.png, reliability.png and
    predictions.csv (a DCASE task 1a submission). Where clips have no labels it takes predictions.csv alone.
    """

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, such as runs/NAME/best/model.safetensors."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """Data with the model's labels, named as in training; by default those that it was trained on, split as then."""
    split: Literal["valid", "calibration", "test"] = "valid"
    """valid (which chose the best epoch), calibration, or test (read it once, at the end)."""
    device_irs: Annotated[str | None, cli.option("DIR")] = None
    """Impulse responses of the devices to hear the clips through; by default the training's, for other --data none."""
    group_from: Annotated[str | None, cli.option("REGEX")] = None
    """Finds the sources of other --data in file names; by default as in training, where those are of the same kind.
    none: every file is a source of its own."""
    output: Annotated[Path | None, cli.option("DIR")] = None
    """Where the files go; by default evaluation-SPLIT beside the model, with its name if that is not model.safetensors.
    Those of an earlier evaluation are replaced."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio lies; by default $ASC_CACHE or ~/.cache/asc."""
    json: bool = False
    """Print one JSON object on standard output."""

    @property
    def folder(self) -> Path:
        """Where the files go."""
        other = "" if self.model.stem == "model" else f"-{self.model.stem}"
        return self.output or self.model.parent / f"evaluation-{self.split}{other}"


def main(options: Options) -> int:
    """Load the model, open the data with the model's own fold, evaluate, write the files, print."""
    import torch

    from asc.console.output_folder import prepare
    from asc.console.progress import packing
    from asc.data.dataset import default_cache
    from asc.evaluation import caveats
    from asc.evaluation.evaluate import Evaluator, open_for
    from asc.model_file.artefact import load_model
    from asc.report import folder

    output = cli.Output(as_json=options.json)
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
    finally:  # the figures took long to compute: a disk that is full does not keep them from being printed
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
