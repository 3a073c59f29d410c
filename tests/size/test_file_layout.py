"""Predicted sizes of a model file, counted by hand; tests/model_file compares them with files that are written."""

import pytest

from asc.config.recipes.loading import load_experiment
from asc.size.file_layout import KEPT, LENGTH_BYTES, file_bytes, header_bytes, leaves_zeros_out, packs
from asc.size.law import cost, pruned_counts
from asc.size.stored_items import stored_items


@pytest.mark.parametrize(("classes", "length"), [(2, 2_512), (10, 2_992), (11, 3_056), (50, 5_392)])
def test_header_bytes_for_a_number_of_classes(classes: int, length: int) -> None:
    assert header_bytes(classes) == length


def test_the_reference_file_is_3000_bytes_over_its_payload_and_fits_128_kib() -> None:
    reference = load_experiment("qat_8b")
    stored = cost(reference).stored
    assert stored.file_bytes - stored.size_bytes == 3_000 == LENGTH_BYTES + header_bytes(10)
    assert stored.file_bytes == 130_944 <= 128 * 1_024


@pytest.mark.parametrize("storage", ["int8", "float16"])
@pytest.mark.parametrize(("prune_ratio", "sparse"), [(0.0, False), (0.01, False), (0.25, True), (0.75, True)])
def test_zeros_are_left_out_if_one_bit_per_weight_costs_less(storage: str, prune_ratio: float, sparse: bool) -> None:
    changes = {"compression.storage": storage, "compression.prune_ratio": prune_ratio}
    experiment = load_experiment("16b_prune").updated(changes)
    items = stored_items(experiment)
    pruned = pruned_counts(items, prune_ratio)
    stored = cost(experiment).stored
    prunable = sum(item.count for item in items if item.prunable)
    assert leaves_zeros_out(items, pruned) is sparse
    expected = stored.nonzero_bytes + -(-prunable // 8) if sparse else stored.size_bytes
    assert file_bytes(items, pruned) == stored.file_bytes == 3_000 + expected <= 3_000 + stored.size_bytes
    assert sum(pack.count * pack.bytes_each for pack in packs(items, pruned)) == expected
    assert (KEPT in {pack.name for pack in packs(items, pruned)}) is sparse


def test_file_bytes_do_not_depend_on_the_way_the_report_counts() -> None:
    reference = load_experiment("qat_8b")
    as_report = cost(reference, stored_as="report").stored
    assert (as_report.size_bytes, as_report.file_bytes) == (130_704, 130_944)
