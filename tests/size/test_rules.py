"""The accounting rules on the reference network, whose verdicts are known, and on made-up costs."""

import pytest

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.config.front_end import FrontEnd
from asc.config.recipes.loading import load_experiment
from asc.errors import InputError
from asc.results import StoredSize
from asc.size.law import Cost, cost
from asc.size.rules import RULES, counted_bytes, fits, limit_bytes, rule, why_not

CHALLENGES = [rule for rule in RULES if rule.name != "file"]


def made(*, parameters=1, size_bytes=1, macs=1):
    stored = StoredSize(
        parameters=parameters,
        size_bytes=size_bytes,
        nonzero_parameters=parameters,
        nonzero_bytes=size_bytes,
        file_bytes=size_bytes + 3_000,
    )
    return Cost(stored=stored, macs_per_second=macs, peak_activation_bytes=1, items=(), pruned={})


@pytest.mark.parametrize(
    ("name", "limit"),
    [("dcase2021", 131_072), ("dcase2022", 128_000), ("dcase2024", 128_000), ("dcase2025", 128_000), ("file", 131_072)],
)
def test_128_kb_in_the_unit_of_each_rule(name, limit):
    assert limit_bytes(rule(name), 128) == limit
    assert limit_bytes(rule(name), 0.5) == limit // 256


def test_reference_as_the_report_stores_it_passes_only_the_first_rule():
    reference = cost(Experiment(architecture=Architecture(), front_end=FrontEnd()), stored_as="report")
    assert [r.name for r in CHALLENGES if fits(r, reference)] == ["dcase2021"]
    assert [counted_bytes(r, reference.stored) for r in CHALLENGES] == [130_704, 113_976, 130_704, 130_704]


def test_reference_as_asc_stores_it_fails_the_third_rule_only_by_its_macs():
    sentence = why_not(rule("dcase2024"), cost(Experiment(architecture=Architecture(), front_end=FrontEnd())))
    assert sentence == "not within dcase2024: 50.0 MMAC per second of audio are over the limit of 30"


def test_limits_are_inclusive():
    for name in ("dcase2022", "dcase2024", "dcase2025"):
        assert fits(rule(name), made(parameters=128_000, size_bytes=128_000, macs=30_000_000))
        assert not fits(rule(name), made(parameters=128_000, size_bytes=128_000, macs=30_000_001))
        assert not fits(rule(name), made(parameters=128_001, size_bytes=128_001))
    assert fits(rule("dcase2021"), made(size_bytes=131_072, macs=10**12))
    assert not fits(rule("dcase2021"), made(size_bytes=131_073))


def test_pruned_zeros_are_free_under_the_first_rule_and_one_bit_in_a_file():
    network = load_experiment("16b_prune")
    pruned = cost(network)
    assert [counted_bytes(r, pruned.stored) for r in RULES] == [122_540, 81_390, 162_780, 162_780, 135_600]
    assert [r.name for r in RULES if fits(r, pruned)] == ["dcase2021"]


def test_why_not_names_bytes_and_macs():
    sentence = why_not(rule("dcase2024"), made(size_bytes=65_000, macs=40_000_000), 64)
    assert sentence == (
        "not within dcase2024: 65,000 bytes are 1,000 over the limit of 64,000 (64 KB) and "
        "40.0 MMAC per second of audio are over the limit of 30"
    )
    assert why_not(rule("dcase2024"), made()) is None


def test_unknown_rule_lists_the_names():
    with pytest.raises(InputError, match="dcase2021, dcase2022, dcase2024"):
        rule("dcase2019")


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_a_budget_must_be_finite_and_above_zero(budget):
    with pytest.raises(InputError, match="above 0"):
        limit_bytes(rule("dcase2021"), budget)
