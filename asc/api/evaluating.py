"""An evaluation from its options to its figures, for launch/evaluate.py and for `asc.evaluate`."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from asc.config import data_guess
from asc.console.cli import Output
from asc.console.evaluate_options import EvaluateOptions
from asc.console.evaluation_text import About
from asc.console.output_folder import prepare
from asc.console.progress import packing
from asc.data.dataset import default_cache
from asc.evaluation import caveats
from asc.evaluation.evaluate import Evaluator, Predictions, open_for
from asc.model_file.artefact import load_model
from asc.report import folder
from asc.report.mistakes import Mistakes, find_mistakes
from asc.results import Examination
from asc.runs import named

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The outcome of an evaluation.

    `examination` has the figures, the confusion matrix and the reliability; it is None for clips without labels.
    `about` has what was evaluated, and the caveats. `folder` is where the files go. `mistakes` has the misclassified
    clips of the validation split, for the report page; None for other splits.
    """

    examination: Examination | None
    predicted: Predictions
    about: About
    folder: Path
    mistakes: Mistakes | None = None

    @property
    def log_loss(self) -> float | None:
        """The macro log loss in nats; None for clips without labels."""
        return None if self.examination is None else self.examination.evaluation.log_loss

    @property
    def accuracy(self) -> float | None:
        """The macro accuracy, from 0 to 1; None for clips without labels."""
        return None if self.examination is None else self.examination.evaluation.accuracy

    @property
    def notes(self) -> tuple[str, ...]:
        """The caveats that must accompany the figures."""
        return self.about.notes

    @property
    def predictions(self) -> "pandas.DataFrame":
        """A row for each clip, in the order of the set: the likeliest label, then the probability of every label."""
        import pandas

        made = self.predicted
        frame = pandas.DataFrame(made.probabilities, columns=list(made.labels), index=list(made.filenames))
        frame.index.name = "filename"
        frame.insert(0, "predicted", [made.labels[best] for best in made.probabilities.argmax(axis=1)])
        return frame

    def write(self) -> tuple[Path, ...]:
        """Write the files into `folder`, and return their paths.

        Raises:
            OSError: a file cannot be written.
        """
        return folder.write(self.folder, self.predicted, self.examination, self.about, self.mistakes)

    def __repr__(self) -> str:
        """The split, and its figures."""
        about, figures = self.about, "no labels, so no figures"
        if self.examination is not None:
            one = self.examination.evaluation
            figures = f"{one.clips} clips, log loss {one.log_loss:.3f}, accuracy {one.accuracy:.1%}{about.mark}"
        return f"<evaluation of {about.model} on {about.split} of {about.data}: {figures}>"


def evaluated(options: EvaluateOptions, output: Output) -> Evaluated:
    """Load the model, open the data with the model's own fold, and evaluate; nothing is written yet.

    Raises:
        InputError: the model, the data or the folder for the files cannot be used.
    """
    options = dataclasses.replace(options, model=named.model_file(options.model))
    network, info = load_model(options.model)
    output.notes(data_guess.note(options.data))
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
    examination = evaluator.examine(logits, clips) if dataset.manifest.labelled else None
    on_page = examination is not None and options.split == "valid"
    return Evaluated(
        examination=examination,
        predicted=evaluator.predictions(logits, clips, info.labels),
        about=caveats.about(info, dataset.manifest, options.split, examination, model=options.model),
        folder=options.folder,
        mistakes=find_mistakes(dataset, logits, clips) if on_page else None,
    )
