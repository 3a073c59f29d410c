"""How the residual network is named and narrowed."""

from asc.config.architecture import Architecture
from asc.topology.describe import narrowings, short_name
from asc.typed import Value

BASE = Architecture(widths=(8, 16), cardinality=4)


def widths(values: dict[str, Value]) -> list[Value]:
    return [changes["architecture.widths"] for changes in narrowings(BASE, values)]


def test_widths_shrink_together_to_multiples_of_the_cardinality() -> None:
    assert widths({}) == [(8, 16), (4, 12), (4, 8), (4, 4)]
    assert widths({"architecture.widths": (6, 13)})[0] == (4, 12)
    assert widths({"architecture.widths.0": 4, "architecture.widths.1": 4, "architecture.cardinality": 8}) == [(8, 8)]


def test_a_stage_that_is_not_sampled_keeps_the_base_width() -> None:
    assert widths({"architecture.widths.1": 8})[0] == (8, 8)


def test_its_short_name_gives_widths_and_cardinality() -> None:
    assert short_name(BASE) == "w8-16 c4"
