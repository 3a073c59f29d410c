"""Evaluate a trained model on a split that it was not trained on; the only way to the test fold.

python launch/evaluate.py runs/NAME/best/model.safetensors --data esc10:DIR --split test
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from asc import cli, tables


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print log loss and accuracy of a stored network: macro, per class and per device."""

    model: Annotated[Path, tyro.conf.Positional]
    """A model file, such as runs/NAME/best/model.safetensors."""
    data: Annotated[str | None, cli.option("SPEC")] = None
    """synthetic, esc10:DIR, csv:FILE or folder:DIR; by default the data that the model was trained on."""
    split: Literal["valid", "calibration", "test"] = "valid"
    """valid (as in training), calibration, or test (read it once, at the end)."""
    cache: Annotated[Path | None, cli.option("DIR")] = None
    """Where packed audio lies; by default $ASC_CACHE or ~/.cache/asc."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(options: Options) -> int:
    """Load the model, open the data with the model's own fold, evaluate, print."""
    import torch

    from asc.artefact import load_model
    from asc.data.dataset import default_cache
    from asc.evaluate import Evaluator, open_for
    from asc.progress import packing

    output = cli.Output(as_json=options.json)
    network, info = load_model(options.model)
    with packing(output.progress) as bar:
        dataset = open_for(info, options.data, options.split, cache=options.cache or default_cache(), progress=bar)
    if dataset.manifest.digest != info.data.digest:
        output.say("note: the model was trained on other data; clips that it was trained on may be among these")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    evaluator = Evaluator(dataset, options.split, info.experiment.front_end, device)
    evaluation = evaluator.evaluate(network.to(device))
    for table in tables.evaluation_tables(evaluation):
        output.result(table)
    output.json({"model": str(options.model), "data": dataset.manifest.spec, **dataclasses.asdict(evaluation)})
    return cli.DONE


if __name__ == "__main__":
    cli.launch(main, Options)
