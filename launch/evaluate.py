"""Evaluate a trained model on a split that it was not trained on. Only this and `asc.evaluate` read the test fold.

python launch/evaluate.py runs/NAME/best/model.safetensors
python launch/evaluate.py runs/NAME/best/model.safetensors --data tau2020:DIR --split test
"""

from typing import TYPE_CHECKING

from asc.console import cli, tables
from asc.console.evaluate_options import EvaluateOptions
from asc.console.evaluation_text import about_tree, tree

if TYPE_CHECKING:
    from asc.api.evaluating import Evaluated


def main(options: EvaluateOptions) -> int:
    """Evaluate, write the files and print the figures."""
    from asc.api.evaluating import evaluated

    output = cli.Output(as_json=options.json, quiet=options.quiet)
    found = evaluated(options, output)
    try:
        files = found.write()
    finally:  # the figures took long to compute, so print them even if the disk is full
        _print(output, found)
    output.result(f"written to {found.folder}{found.about.mark}: {', '.join(file.name for file in files)}")
    return cli.DONE


def _print(output: cli.Output, found: "Evaluated") -> None:
    examination, about = found.examination, found.about
    output.notes(about.notes)
    if examination is not None:
        for table in tables.evaluation_tables(examination.evaluation, about):
            output.result(table)
    output.json(
        {**(about_tree(about) if examination is None else tree(examination, about)), "output": str(found.folder)}
    )


if __name__ == "__main__":
    cli.launch(main, EvaluateOptions)
