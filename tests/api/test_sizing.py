"""`asc.size`: the figures of the size law, for a recipe, a file, a model or a config."""

import json
from pathlib import Path
from typing import Any

import pytest
from launched import launched

import asc
from asc.config.experiment import Experiment
from asc.errors import InputError
from asc.size.law import cost


def test_it_says_what_the_script_says(capsys: pytest.CaptureFixture[str]) -> None:
    found = asc.size(recipe="16b_prune", overrides={"architecture.widths": [16, 32]}, seconds=1)
    script = ("--recipe", "16b_prune", "--set", "architecture.widths=[16,32]", "--seconds", "1", "--json")
    assert launched("size.py", *script) == 0
    said = json.loads(capsys.readouterr().out)
    assert (found.parameters, found.size_bytes, found.file_bytes) == (
        said["parameters"],
        said["bytes"],
        said["file_bytes"],
    )
    assert (found.macs_per_second, found.peak_activation_bytes) == (said["macs"], said["peak_activation_bytes"])
    assert found.fits(128) is said["fits"]["dcase2021"] is True
    assert found.table().bytes.sum() == sum(item["count"] * item["bytes_each"] for item in said["items"])


def test_a_config_a_file_and_a_model_have_the_same_size(
    tiny_experiment: Experiment, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(tiny_experiment.to_toml())
    assert asc.size(tiny_experiment).cost == asc.size(file).cost == cost(tiny_experiment)
    assert asc.size(tiny_model).file_bytes == tiny_model.stat().st_size
    wider = asc.size(tiny_experiment, overrides={"architecture.widths": [8, 16]})
    assert wider.size_bytes > asc.size(tiny_experiment).size_bytes


def test_what_does_not_fit_says_by_how_much_and_a_wrong_name_is_refused() -> None:
    size = asc.size()
    assert not size.fits(64) and size.why_not(64) == (
        "not within dcase2021: 127,944 bytes are 62,408 over the limit of 65,536 (64 KB)"
    )
    assert size.why_not(128) is None and size.kilobytes("dcase2024") == pytest.approx(127.944)
    with pytest.raises(InputError, match="unknown accounting rule"):
        size.kilobytes("dcase2019")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="^budget_kb must be a number, got 'x'"):
        size.fits("x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="neither a file nor a recipe"):
        asc.size("nowhere")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"stored_as": "x"}, "stored_as must be one of asc, "),
        ({"seconds": "1"}, "seconds must be a number, got '1'"),
        ({"recipe": 5}, "recipe must be a text or nothing, got 5"),
        ({"seconds": 0}, "seconds must be above 0, got 0"),
        ({"seconds": float("nan")}, "seconds "),
        ({"config": 3}, "config must be a path, got 3"),
        ({"config": Experiment(), "recipe": "qat_8b"}, "give config or recipe, not both"),
        ({"overrides": ()}, "overrides must be a dict"),
    ],
)
def test_a_wrong_argument_is_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=f"^{sentence}"):
        asc.size(**wrong)


@pytest.mark.parametrize("reads", [asc.load, asc.read_search, asc.evaluate])
def test_what_is_no_path_is_refused_in_one_sentence(reads: Any) -> None:
    with pytest.raises(InputError, match="must be a path, got 3$"):
        reads(3)
