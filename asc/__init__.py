"""asc: acoustic scene classifiers that fit a hard size limit.

    model = asc.load("NAME")  # a run in runs/; or NAME/t005, or a model file
    prediction = model.predict(waveform, sample_rate_hz)
    print(prediction.label, prediction.probability)

Importing asc is light: torch is imported by `load`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asc.inference.predict import Model

__version__ = "0.2.0"


def load(path: str | Path) -> "Model":
    """Load a model, ready to predict: a file, the name of a run in runs/ (its best network), or a trial (NAME/t005).

    Raises:
        asc.errors.InputError: it is none of these, or the file is damaged or not a model file that this asc reads.
    """
    from asc.inference.predict import load
    from asc.runs.named import model_file

    return load(model_file(Path(path)))
