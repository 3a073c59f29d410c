"""The code saved with a served model: enough to predict, and little more."""

import subprocess
import sys
from pathlib import Path

from asc.tracking.served_code import copy_needed, needed_modules

UNNEEDED = {"search", "report", "export", "training", "runs", "console", "evaluation", "data"}


def test_it_contains_no_package_that_a_prediction_does_not_need() -> None:
    modules = needed_modules()
    assert {"asc", "asc.inference.waveforms", "asc.model_file.artefact"} <= set(modules)
    assert not [name for name in modules if name.split(".")[1:2] and name.split(".")[1] in UNNEEDED]
    assert not {"asc.audio.audio_file", "asc.models.network", "asc.models.fake_quantised"} & set(modules)
    assert len(modules) <= 54, "a family of networks adds one, so do a part of a config, and a fast path"


def test_the_copy_alone_loads_a_model_and_predicts(tmp_path: Path, tiny_model: Path) -> None:
    copy_needed(tmp_path / "asc")
    in_c = sorted(path.relative_to(tmp_path / "asc").as_posix() for path in tmp_path.rglob("*.c"))
    assert in_c == ["audio/mel.c", "models/fused.c"]
    code = (
        "import asc, numpy, pathlib; from asc.model_file.artefact import load_model; "
        "from asc.inference.waveforms import WaveformModel; "
        f"model = WaveformModel(*load_model(pathlib.Path({str(tiny_model)!r}))); "
        "print(asc.__file__, model.predict(numpy.sin(numpy.arange(8000) / 9.0) / 9, 8000).label)"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    place, label = answer.stdout.split()
    assert Path(place).parent == tmp_path / "asc" and label in ("down_fast", "down_slow", "up_fast", "up_slow")
