"""Config keys added later: left out at their default; ignored in a model file unless they shape the network."""

from dataclasses import asdict

import pytest

from asc.config.experiment import Experiment
from asc.config.fingerprint import fingerprint, readable, without_defaults
from asc.errors import InputError


def test_a_key_added_later_counts_only_when_it_differs_from_its_default() -> None:
    tree, default = asdict(Experiment()), asdict(Experiment())
    for known in (tree, default):
        known["augment"]["time_rolling"] = 0.0
        known["residual_norm"] = {"input": False}
    assert fingerprint(without_defaults(tree, default)) == Experiment().fingerprint
    tree["augment"]["time_rolling"] = 0.5
    rolled = without_defaults(tree, default)
    assert rolled["augment"]["time_rolling"] == 0.5 and "residual_norm" not in rolled
    assert fingerprint(rolled) != Experiment().fingerprint


def test_an_original_key_is_always_kept() -> None:
    tree = without_defaults(asdict(Experiment()), asdict(Experiment()))
    assert tree["seed"] == 0 and tree["schedule"]["batch_size"] == 64


@pytest.mark.parametrize("section", ["augment", "schedule", "calibration"])
def test_a_model_loads_with_unknown_training_keys(section: str) -> None:
    tree = Experiment().tree()
    tree[section] = {**tree[section], "of_a_later_version": 3}
    assert Experiment.of_model(tree) == Experiment()


@pytest.mark.parametrize("section", ["front_end", "architecture", "compression"])
def test_an_unknown_key_that_shapes_the_network_is_refused(section: str) -> None:
    tree = Experiment().tree()
    tree[section] = {**tree[section], "of_a_later_version": 3}
    with pytest.raises(InputError, match=f"unknown key config.{section}.of_a_later_version"):
        Experiment.of_model(readable(tree, asdict(Experiment())))
