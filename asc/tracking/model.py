"""Packs a model file into a folder that MLflow can load and serve: code, signature and requirements.

https://mlflow.org/docs/latest/ml/model. The folder contains the code of asc, because no package index has it. Nothing
in it is pickled.
"""

import math
import re
from importlib.metadata import version
from pathlib import Path

import pandas
from mlflow import pyfunc
from mlflow.entities import LoggedModel
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array, Map

import asc
from asc.run_files import MODEL_CARD, MODEL_FILE
from asc.tracking.served_code import copy_needed
from asc.tracking.served_model import ARTEFACT

_CODE = "served_model.py"
# asc checks the input itself: MLflow would cut 8000.5 Hz to a long and refuse doubles that JSON writes as 1.
_ANY = AnyType()  # type: ignore[no-untyped-call]
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(Array(_ANY), "waveform"), ColSpec(_ANY, "sample_rate_hz")]),
    outputs=Schema(
        [
            ColSpec(DataType.string, "label"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    ),
)
# The packages that asc and MLflow import to serve a model; a test checks that the list is complete.
_NEEDED = ("av", "mlflow", "numpy", "pandas", "safetensors", "soundfile", "tomli-w", "torch", "torchaudio")
_EXAMPLE_RATE_HZ, _EXAMPLE_S, _TONE_HZ = 8000, 0.5, 440


def requirements() -> list[str]:
    """The packages needed to serve, pinned to the installed versions without suffixes that no index has (`+cpu`)."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in _NEEDED]


def example() -> pandas.DataFrame:
    """One row of input: `waveform`, a tone of 0.5 s at full scale 1 (list of float), and `sample_rate_hz`."""
    samples = range(round(_EXAMPLE_S * _EXAMPLE_RATE_HZ))
    wave = [round(0.1 * math.sin(2 * math.pi * _TONE_HZ * n / _EXAMPLE_RATE_HZ), 4) for n in samples]
    return pandas.DataFrame({"waveform": [wave], "sample_rate_hz": [_EXAMPLE_RATE_HZ]})


def registered_name(run: str) -> str:
    """The name of a run, changed so that it needs no quoting in `models:/NAME/VERSION`."""
    return re.sub(r"[^\w.-]", "_", run)


def write_model(folder: Path, data: bytes, card: str, logged: LoggedModel) -> None:
    """Write the folder of the MLflow model `logged`; `data` holds the bytes of the model file.

    Raises:
        MlflowException: MLflow cannot write it.
        OSError: the disk is full.
    """
    model = Model(
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    file = folder.with_name(MODEL_FILE)
    file.write_bytes(data)
    package, needed = Path(asc.__file__).parent, folder.with_name("asc")
    copy_needed(needed)
    pyfunc.save_model(
        str(folder),
        python_model=str(package / "tracking" / _CODE),
        artifacts={ARTEFACT: str(file)},
        code_paths=[str(needed)],
        signature=SIGNATURE,
        input_example=example(),
        pip_requirements=requirements(),
        mlflow_model=model,
    )
    # Remove paths of this machine, which MLflow has written and does not need to load the model.
    flavour = model.flavors[pyfunc.FLAVOR_NAME]
    flavour[pyfunc.MODEL_CODE_PATH] = _CODE
    del flavour["artifacts"][ARTEFACT]["uri"]
    model.save(str(folder / "MLmodel"))
    (folder / MODEL_CARD).write_text(card, "utf-8")
