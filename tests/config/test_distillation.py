"""The config of distillation: published defaults, ranges, and files that know nothing of it."""

import pytest

from asc.config.distillation import Distillation
from asc.config.experiment import Experiment
from asc.errors import InputError


def test_the_defaults_are_the_published_ones_and_change_no_file(tiny_experiment: Experiment) -> None:
    assert tiny_experiment.distillation == Distillation(temperature=2.0, weight=0.98)
    assert "distillation" not in tiny_experiment.tree()
    flat = {key: value for key, value in tiny_experiment.flat().items() if not key.startswith("distillation")}
    assert Experiment.from_flat(flat) == tiny_experiment, "a journal that knows nothing of it reads the same"
    changed = tiny_experiment.updated({"distillation.weight": 1})
    assert changed.tree()["distillation"] == {"weight": 1.0} and changed.fingerprint != tiny_experiment.fingerprint
    assert Experiment.of_model({**changed.tree(), "distillation": {"weight": 1.0, "unheard": 3}}) == changed


@pytest.mark.parametrize(
    ("key", "value"), [("temperature", 0.0), ("temperature", 101), ("weight", -0.1), ("weight", 2)]
)
def test_values_out_of_range_name_their_key(tiny_experiment: Experiment, key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"distillation.{key} .*must lie between .*, got {float(value)}"):
        tiny_experiment.updated({f"distillation.{key}": value})
