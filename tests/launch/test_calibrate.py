"""launch/calibrate.py, launch/train.py with calibration or --split all, and launch/evaluate.py on their models."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
from launched import launched

from asc.config.experiment import Experiment
from asc.model_file.artefact import load_model
from asc.runs.events import TrialEnded
from asc.runs.journal import read_journal


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


class Bench:
    """Runs launch scripts like a user, but in this process, because importing torch takes seconds."""

    def __init__(self, folder: Path, data: Path, cache: Path) -> None:
        self.folder, self.data, self._cache = folder, data, cache

    def run(self, script: str, *options: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setenv("ASC_CACHE", str(self._cache))
            code = launched(script, *options, "--json")
        return Done(code, out.getvalue(), err.getvalue())

    def answer(self, script: str, *options: str) -> dict[str, object]:
        done = self.run(script, *options)
        assert done.returncode == 0, done.stderr
        tree: dict[str, object] = json.loads(done.stdout)
        return tree

    def train(self, name: str, *options: str) -> dict[str, object]:
        given = ("--config", "tiny.toml", "--data", f"csv:{self.data}", "--name", name, "--mlflow-uri", "none")
        return self.answer("train.py", *given, *options)

    def refusal(self, script: str, *options: str) -> str:
        done = self.run(script, *options)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
        return done.stderr


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory, tiny_experiment: Experiment, tiny_csv: Path, tiny_cache: Path
) -> Bench:
    folder = tmp_path_factory.mktemp("calibrate")
    timid = tiny_experiment.updated({"schedule.epochs_per_cycle": 5, "augment.mixup_alpha": 2.0})
    (folder / "tiny.toml").write_text(timid.to_toml())
    bench = Bench(folder, tiny_csv, tiny_cache)
    bench.train("plain")
    return bench


PLAIN = "runs/plain/best/model.safetensors"


def test_calibrating_after_training_equals_calibrating_in_training(bench: Bench) -> None:
    whole = bench.train("calibm", "--set", "calibration.method=multinomial")
    after = bench.answer("calibrate.py", PLAIN, "--method", "multinomial")
    assert after["calibration"] == whole["calibration"] and after["optimistic"] is False
    made = bench.folder / "runs" / "plain" / "best" / "model-multinomial.safetensors"
    assert after["model"] == str(made.relative_to(bench.folder))
    assert load_model(made)[1].calibration is not None
    judged = bench.answer("evaluate.py", str(made), "--split", "test")
    assert judged["optimistic"] is False and judged["calibration"] == pytest.approx(whole["calibration"], abs=5e-5)
    assert "already calibrated" in bench.refusal("calibrate.py", str(made), "--method", "temperature")


def test_without_a_method_it_takes_what_the_network_allows_and_says_why(bench: Bench) -> None:
    done = bench.run("calibrate.py", "plain")
    assert done.returncode == 0 and "method multinomial: the default" in done.stderr
    assert "it may also change which class wins" in done.stderr
    assert json.loads(done.stdout)["model"] == "runs/plain/best/model-multinomial.safetensors"
    bench.train("pruned", "--set", "compression.prune_ratio=0.5", "--cycles", "2")
    done = bench.run("calibrate.py", "pruned")
    assert done.returncode == 0 and "method temperature: the network is pruned" in done.stderr
    assert "It cannot change which class wins" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["model"] == "runs/pruned/best/model-temperature.safetensors"
    assert answer["valid"]["after"]["accuracy"] == pytest.approx(answer["valid"]["before"]["accuracy"], abs=0.1)


def test_every_output_of_a_model_calibrated_on_test_clips_says_optimistic(bench: Bench) -> None:
    options = ("--set", "calibration.method=multinomial", "--calibrate-on-test")
    trained = bench.train("starred", *options)
    assert trained["calibration"]["split"] == "test"  # type: ignore[index]
    entries = read_journal(bench.folder / "runs" / "starred" / "journal.jsonl")
    assert [e.event.optimistic for e in entries if isinstance(e.event, TrialEnded)] == [True]
    done = bench.run("calibrate.py", PLAIN, "--calibrate-on-test")
    assert json.loads(done.stdout)["optimistic"] is True and "optimistic" in done.stderr
    model = json.loads(done.stdout)["model"]
    assert model.endswith("model-multinomial-optimistic.safetensors")
    judged = bench.run("evaluate.py", model, "--split", "test")
    assert json.loads(judged.stdout)["optimistic"] is True and "optimistic" in judged.stderr


def test_a_training_calibrated_on_test_clips_prints_the_warning(bench: Bench) -> None:
    options = ("--config", "tiny.toml", "--data", f"csv:{bench.data}", "--mlflow-uri", "none")
    asked = ("--set", "calibration.method=multinomial", "--calibrate-on-test", "--name", "starred2")
    done = bench.run("train.py", *options, *asked)
    tree = json.loads(done.stdout)
    assert tree["optimistic"] is True and tree["uncalibrated"]["calibration_error"] is not None
    titles = [line for line in done.stderr.splitlines() if "split" in line and "clips" in line and "[" not in line]
    assert titles and all("optimistic" in line for line in titles if not line.startswith("training"))


@pytest.mark.parametrize("target", [PLAIN, "runs", "tiny.toml/model.safetensors"])
def test_an_output_that_cannot_be_written_is_refused_first(bench: Bench, target: str) -> None:
    assert "--output" in bench.refusal("calibrate.py", PLAIN, "--output", target)


def test_only_a_calibrating_recipe_can_be_calibrated_on_test(bench: Bench) -> None:
    assert "no calibration" in bench.refusal("train.py", "--config", "tiny.toml", "--calibrate-on-test")


def test_only_the_data_of_the_training_can_calibrate(bench: Bench, tiny_csv: Path, tmp_path: Path) -> None:
    lines = tiny_csv.read_text().splitlines()
    for line in lines[1:]:
        (tmp_path / line.split(",")[0]).write_bytes((tiny_csv.parent / line.split(",")[0]).read_bytes())
    (tmp_path / "meta.csv").write_text("\n".join([lines[0], *(line.replace(",b,", ",c,") for line in lines[1:])]))
    sentence = bench.refusal("calibrate.py", PLAIN, "--data", f"csv:{tmp_path / 'meta.csv'}")
    assert "is not the data that the model was trained on" in sentence


def test_a_final_model_is_trained_on_every_clip_and_evaluated_on_none(bench: Bench) -> None:
    final = bench.train("final", "--split", "all")
    _, info = load_model(bench.folder / str(final["model"]))
    assert info.data.choice.part == "all" and final["best_epoch"] == 10, "without held-out clips the last epoch is used"
    assert final["held_out"] is False
    for split in ("test", "valid"):
        sentence = bench.refusal("evaluate.py", str(final["model"]), "--split", split)
        assert "trained on all clips" in sentence
    assert "none is left to calibrate on" in bench.refusal("calibrate.py", str(final["model"]))
    options = ("--set", "calibration.method=temperature", "--split", "all")
    refused = bench.refusal("train.py", "--config", "tiny.toml", "--data", f"csv:{bench.data}", *options)
    assert "--split all leaves no clip" in refused
