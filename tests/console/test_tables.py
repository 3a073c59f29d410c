"""The tables and the JSON of sizes and evaluations."""

import io
import json

import pytest
from rich.console import Console
from rich.table import Table

from asc.config.architecture import Architecture
from asc.config.experiment import Experiment
from asc.console import tables
from asc.results import Evaluation, GroupFigures
from asc.size.law import Cost, cost

REFERENCE = cost(Experiment(), stored_as="report")
SMALL = cost(
    Experiment(
        architecture=Architecture(
            widths=(8,), depths=(1,), se_bottlenecks=(2,), frequency_strides=(2,), time_strides=(1,), cardinality=2
        ),
        front_end=Experiment().front_end,
    ),
)


def rows(table: Table) -> list[list[str]]:
    """The cells of a printed table, row by row."""
    console = Console(file=io.StringIO(), width=300)
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return [[cell.strip() for cell in line.strip("\u2502 ").split("\u2502")] for line in text.splitlines()]


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.mark.parametrize("size", [REFERENCE, SMALL])
def test_the_rows_of_the_size_table_add_up_to_the_cost(size: Cost) -> None:
    cells = [row for row in rows(tables.size_table(size)) if len(row) == 4 and row[1][:1].isdigit()]
    *kinds, total = cells
    assert total[0] == "total"
    assert number(total[1]) == size.stored.parameters == sum(number(row[1]) for row in kinds)
    assert number(total[3].split(" = ")[0]) == size.stored.size_bytes == sum(number(row[3]) for row in kinds)
    assert all(number(row[1]) * number(row[2]) == number(row[3]) for row in kinds)


def test_the_size_table_of_the_reference_equals_the_technical_reports() -> None:
    found = {row[0]: tuple(row[1:]) for row in rows(tables.size_table(REFERENCE)) if len(row) == 4}
    assert found["weights"] == ("109,320", "1", "109,320")
    assert found["biases"] == ("658", "4", "2,632")
    assert found["weight scales, one per output channel"] == ("658", "8", "5,264")
    assert found["SE weights and biases"] == ("3,132", "4", "12,528")
    assert found["SE bottleneck batch norm"] == ("144", "4", "576")
    assert found["activation scales"] == ("32", "4", "128")
    assert found["activation zero points"] == ("32", "8", "256")
    assert found["total"] == ("113,976", "", "130,704 = 127.64 KB (1,024)")


def test_the_table_of_rules_gives_the_excess_of_the_reference() -> None:
    found = {row[0]: row[1:] for row in rows(tables.rules_table(REFERENCE, 128)) if len(row) == 4}
    assert found["dcase2021"] == ["130,704", "131,072", "yes"]
    assert found["dcase2022"][:2] == ["113,976", "128,000"] and "over the limit of 30" in found["dcase2022"][2]
    assert found["dcase2024"][:2] == ["130,704", "128,000"]
    assert "130,704 bytes are 2,704 over the limit of 128,000" in found["dcase2024"][2]


@pytest.mark.parametrize("size", [REFERENCE, SMALL])
def test_the_json_of_a_size_agrees_with_the_cost(size: Cost) -> None:
    tree = json.loads(json.dumps(tables.size_json(size, 64), allow_nan=False))
    assert tree["parameters"] == size.stored.parameters == sum(item["count"] for item in tree["items"])
    assert tree["bytes"] == size.stored.size_bytes == sum(item["count"] * item["bytes_each"] for item in tree["items"])
    assert tree["macs"] == size.macs_per_second
    assert tree["peak_activation_bytes"] == size.peak_activation_bytes
    assert tree["budget_kb"] == 64
    assert tree["fits"] == dict.fromkeys(("dcase2021", "dcase2022", "dcase2024", "dcase2025", "file"), size is SMALL)


def test_names_with_markup_are_printed_literally() -> None:
    """A label may be any text; rich must not interpret it as markup."""
    names = ("park", "[bold]loud", "a[/b]")
    groups = tuple(GroupFigures(name=name, clips=1234, log_loss=0.8204, accuracy=0.7119) for name in names)
    evaluation = Evaluation(
        split="test",
        clips=2968,
        log_loss=0.8204,
        accuracy=0.7119,
        micro_log_loss=0.9,
        micro_accuracy=0.5,
        per_class=groups,
        per_device=groups[:1],
    )
    total, classes, devices = (rows(table) for table in tables.evaluation_tables(evaluation))
    assert total[0] == ["test split, 2968 clips"]
    assert ["log loss, macro (mean over classes)", "0.820"] in total and ["accuracy, macro", "71.2%"] in total
    assert ["log loss, micro (mean over clips)", "0.900"] in total and ["accuracy, micro", "50.0%"] in total
    for name in names:
        assert [name, "1234", "0.820", "71.2%"] in classes
    assert ["park", "1234", "0.820", "71.2%"] in devices
