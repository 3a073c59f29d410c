"""asc: acoustic scene classifiers that fit a hard size limit.

    model = asc.load("runs/NAME/best/model.safetensors")
    prediction = model.predict(waveform, sample_rate_hz)
    print(prediction.label, prediction.probability)

Importing asc is light: torch is imported by `load`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asc.inference.predict import Model


def load(path: str | Path) -> "Model":
    """Load a model file such as runs/NAME/best/model.safetensors, ready to predict.

    Raises:
        asc.errors.InputError: the file is missing, damaged, or not a model file that this asc reads.
    """
    from asc.inference.predict import load

    return load(path)
