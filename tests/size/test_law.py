"""The size law against the report's figures and hand counts. tests/models compares it with built networks."""

import subprocess
import sys

import pytest

from asc.config.experiment import Compression, Experiment
from asc.config.recipes.loading import load_experiment
from asc.errors import Infeasible
from asc.size.law import Costing, cost, macs
from asc.size.stored_items import stored_items

REFERENCE = load_experiment("qat_8b")


def table(stored_as):
    items = stored_items(REFERENCE, stored_as)
    kinds = {item.kind for item in items}
    return {
        kind: (
            sum(item.count for item in items if item.kind == kind),
            sum(item.size_bytes for item in items if item.kind == kind),
        )
        for kind in kinds
    }


def test_reference_as_the_report_stores_it_matches_every_row():
    assert table("report") == {
        "weight": (109_320, 109_320),
        "bias": (658, 2_632),
        "weight_scale": (658, 5_264),
        "se": (3_132, 12_528),
        "se_batch_norm": (144, 576),
        "activation_scale": (32, 128),
        "activation_zero_point": (32, 256),
    }


def test_reference_as_asc_stores_it_differs_only_in_scales_and_zero_points():
    lean = {**table("report"), "weight_scale": (658, 2_632), "activation_zero_point": (32, 128)}
    assert table("asc") == lean


@pytest.mark.parametrize(("stored_as", "size_bytes"), [("report", 130_704), ("asc", 127_944)])
def test_reference_totals(stored_as, size_bytes):
    reference = cost(REFERENCE, stored_as=stored_as)
    assert (reference.stored.parameters, reference.stored.size_bytes) == (113_976, size_bytes)
    assert round(130_704 / 1024, 2) == 127.64
    assert len({item.name for item in reference.items}) == len(reference.items)


@pytest.mark.parametrize(("storage", "each"), [("int8", 4), ("float16", 2)])
def test_standardised_bands_cost_two_numbers_each_and_other_normalisations_none(storage, each):
    plain = REFERENCE.updated({"compression.storage": storage})
    sizes = {
        name: cost(plain.updated({"front_end.normalisation": name})).stored.size_bytes
        for name in ("mean_over_time", "none", "residual", "per_band")
    }
    assert sizes["none"] == sizes["residual"] == sizes["mean_over_time"]
    assert sizes["per_band"] - sizes["none"] == 2 * 128 * each


def test_system_4_is_within_one_thousandth_of_the_report():
    """Section 4.1 gives 62,390 non-zero parameters in 121.86 KB; the reading that fits best (FACTS) has 62,410."""
    network = load_experiment("16b_prune")
    found = cost(network, stored_as="report").stored
    assert found.nonzero_parameters == 62_410 == 60_360 + 4 * 380 + 160 + 10 + 216 + 144
    assert found.nonzero_parameters == pytest.approx(62_390, rel=1e-3)
    assert found.nonzero_bytes == 124_820
    assert found.nonzero_bytes / 1024 == pytest.approx(121.86, rel=1e-3)


def test_system_4_as_asc_stores_it_has_folded_batch_norms():
    network = load_experiment("16b_prune")
    wide = cost(network, stored_as="report").stored
    lean = cost(network).stored
    assert wide.nonzero_parameters - lean.nonzero_parameters == 3 * 380, "one bias for the four values of a batch norm"


def test_pruned_zeros_are_counted_by_stored_width():
    """In 8 bits: 109,320 convolution and dense weights of one byte, 2,880 SE weights of four."""
    pruned = cost(
        Experiment(
            architecture=REFERENCE.architecture, front_end=REFERENCE.front_end, compression=Compression(prune_ratio=0.5)
        )
    )
    assert pruned.pruned == {1: 54_660, 4: 1_440}
    assert pruned.stored.parameters - pruned.stored.nonzero_parameters == 56_100
    assert pruned.stored.size_bytes - pruned.stored.nonzero_bytes == 54_660 + 4 * 1_440
    assert pruned.stored.size_bytes == 127_944


def test_reference_takes_50_million_macs_per_second():
    # By hand: stem, then per block (9 x in + 9 x out / 4 + skip) x positions, SE, dense.
    by_hand = 9 * 24 * 128 * 100
    by_hand += (9 * 24 + 9 * 6) * 24 * 64 * 50
    by_hand += (9 * 24 + 9 * 6 + 24) * 24 * 32 * 25 * 2
    by_hand += (9 * 24 + 9 * 12 + 24) * 48 * 16 * 13 + (9 * 48 + 9 * 12 + 48) * 48 * 16 * 13 * 2
    by_hand += 3 * 2 * 24 * 4 + 3 * 2 * 48 * 8 + 1536 * 10
    assert macs(REFERENCE) == by_hand
    assert by_hand == pytest.approx(50e6, rel=0.01)


def test_figures_asked_for_one_by_one_are_those_of_the_whole_cost():
    for stored_as in ("asc", "report"):
        one, whole = Costing(REFERENCE, stored_as=stored_as), cost(REFERENCE, stored_as=stored_as)
        assert (one.stored, one.items, one.pruned) == (whole.stored, whole.items, whole.pruned)
        assert (one.macs_per_second, one.peak_activation_bytes) == (whole.macs_per_second, whole.peak_activation_bytes)


def test_bytes_alone_need_no_frames():
    assert Costing(REFERENCE, seconds=0.001).stored == cost(REFERENCE).stored
    with pytest.raises(Infeasible, match="too short"):
        cost(REFERENCE, seconds=0.001)


def test_size_and_budget_import_neither_torch_nor_numpy():
    code = "import sys, asc.size.law, asc.size.rules; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
