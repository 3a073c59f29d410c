"""Predictions for sound files; `asc.inference.waveforms` describes how a waveform is predicted."""

from pathlib import Path

from asc.audio.audio_file import decode_pieces
from asc.errors import AudioProblem, InputError
from asc.inference.waveforms import WaveformModel, window_lengths
from asc.model_file.artefact import load_model
from asc.results import Prediction


def load(path: str | Path) -> "Model":
    """Load a model file, ready to predict.

    Raises:
        InputError: the file does not exist, is damaged, or is not a model file of this asc.
    """
    return Model(*load_model(Path(path)))


class Model(WaveformModel):
    """A model that also reads sound files. Serving goes without it, and so without every decoder."""

    def predict_file(self, path: str | Path) -> Prediction:
        """Predict a sound file, which is read window by window and never held in memory as a whole.

        Raises:
            InputError: the file cannot be read, is cut off, or has samples that `predict` refuses.
        """
        path = Path(path)
        try:
            return self.mean(decode_pieces(path, self.sample_rate_hz, window_lengths))
        except (AudioProblem, InputError) as problem:
            raise InputError(f"{path}: {problem}") from problem
