"""The code of every MLflow model of asc. MLflow runs this file when it loads a model, with the model's copy of asc.

This is a "model from code" (https://mlflow.org/docs/latest/ml/model/models-from-code): nothing is pickled, and asc
itself reads and checks the model file.
"""

from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from asc.errors import InputError

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from asc.inference.waveforms import WaveformModel

ARTEFACT = "model"


class ServedModel(PythonModel):
    """Answers rows of `waveform` and `sample_rate_hz` with `label`, `probability` and `probabilities` by label."""

    _model: "WaveformModel"

    def load_context(self, context: PythonModelContext) -> None:
        """Read the model file.

        Raises:
            InputError: it is damaged.
        """
        # These import torch, which a process that only logs a model does not need.
        from asc.inference.waveforms import WaveformModel
        from asc.model_file.artefact import load_model

        self._model = WaveformModel(*load_model(Path(context.artifacts[ARTEFACT])))

    def predict(
        self, context: PythonModelContext, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> pandas.DataFrame:
        """Return one row of answers for each row of `model_input`, in the same order.

        Each `waveform` is a list of samples of full scale 1. `label` is the most probable class, `probability` its
        probability (0 to 1), and `probabilities` maps every label to its probability.

        Raises:
            MlflowException: a row is invalid; a server answers with status 400 and the message.
        """
        rows = zip(model_input["waveform"], model_input["sample_rate_hz"], strict=True)
        return pandas.DataFrame([self._answer(number, *row) for number, row in enumerate(rows, 1)])

    def _answer(self, number: int, waveform: Any, sample_rate_hz: Any) -> dict[str, Any]:
        try:
            prediction = self._model.predict(_samples(waveform), _rate_hz(sample_rate_hz))
        except InputError as error:
            raise MlflowException(f"row {number}: {error}", INVALID_PARAMETER_VALUE) from error
        return {
            "label": prediction.label,
            "probability": prediction.probability,
            "probabilities": dict(zip(self._model.labels, prediction.probabilities, strict=True)),
        }


def _samples(waveform: Any) -> "NDArray[numpy.float32]":
    """The samples as float32, in the shape given. Integers are allowed, because JSON may write 1.0 as 1."""
    import numpy

    try:
        found = numpy.asarray(waveform)
    except ValueError as error:
        raise InputError(f"the waveform is not a list of numbers ({error}): give samples of full scale 1") from error
    if found.size and found.dtype.kind not in "iuf":
        raise InputError("the waveform is not a list of numbers: give samples of full scale 1")
    return found.astype(numpy.float32)


def _rate_hz(sample_rate_hz: Any) -> float:
    if not isinstance(sample_rate_hz, Real):
        raise InputError(f"sample_rate_hz is {sample_rate_hz!r}: give a number")
    return float(sample_rate_hz)


set_model(ServedModel())
