"""The preview of a search: shares and sizes are compared with direct counts, and impossible budgets are refused."""

import random
import re

import pytest

from asc.config.recipes.loading import load_experiment
from asc.config.space import Space
from asc.config.space_file import parse_space
from asc.errors import InputError
from asc.search.preview import preview
from asc.search.repair import Budget, least
from asc.size.law import cost
from asc.size.rules import rule


def test_the_share_of_points_that_fit_equals_a_direct_count(idlab128: Space) -> None:
    """Count it independently: round widths to the cardinality, then compute the cost of each point."""
    base = load_experiment("qat_8b").updated(idlab128.settings)
    budget = Budget(rule=rule("dcase2021"), kilobytes=128)
    found = preview(base, idlab128, budget)
    rng, fits, points = random.Random(5), 0, 1500
    for _ in range(points):
        values = idlab128.values(idlab128.sample(rng))
        groups = values["architecture.cardinality"]
        widths = [values.pop(f"architecture.widths.{stage}") for stage in (0, 1)]
        rounded = [max(groups, width - width % groups) for width in widths]  # type: ignore[operator]
        drawn = base.updated({**values, "architecture.widths": rounded})  # type: ignore[dict-item]
        fits += cost(drawn).stored.nonzero_bytes <= 131_072
    assert found.fit_share == pytest.approx(fits / points, abs=0.06)
    assert found.repairable_share == 1
    assert 0 < found.smallest_bytes < found.median_bytes < found.largest_bytes <= 131_072


def test_an_impossible_budget_names_the_smallest_size(idlab128: Space) -> None:
    base = load_experiment("qat_8b").updated(idlab128.settings)
    with pytest.raises(InputError, match=r"fits 0.25 KB \(256 bytes\).*takes [\d,]+ bytes.*--budget-kb") as error:
        preview(base, idlab128, Budget(rule=rule("dcase2021"), kilobytes=0.25))
    named = int(re.search(r"takes ([\d,]+) bytes", str(error.value))[1].replace(",", ""))  # type: ignore[index]
    narrowest = [least(base, idlab128, idlab128.sample(rng)) for rng in map(random.Random, range(50))]
    sizes = [size.stored.nonzero_bytes for size in narrowest if not isinstance(size, str)]
    assert len(sizes) == 50 and named <= min(sizes)


def test_limits_that_nothing_fits_are_named_with_what_the_smallest_takes(idlab128: Space) -> None:
    base = load_experiment("qat_8b").updated(idlab128.settings)
    budget = Budget(rule=rule("dcase2021"), kilobytes=128, max_mmacs_per_s=0.01, max_ram_kb=5)
    with pytest.raises(InputError) as error:
        preview(base, idlab128, budget)
    said = str(error.value)
    assert "MMAC per second (allowed: 0.01)" in said and "KB of activations (allowed: 5)" in said
    assert "give a larger --max-mmacs-per-s or --max-ram-kb, or another --space" in said


def test_a_bound_that_no_config_allows_is_refused_at_once() -> None:
    text = 'schema = 1\n[parameters]\n"augment.crop_s" = { low = 0.01, high = 3.0 }\n'
    space = parse_space(text, source="test", name="short")
    with pytest.raises(InputError, match="augment.crop_s"):
        preview(load_experiment("qat_8b"), space, Budget(rule=rule("dcase2021"), kilobytes=128))
