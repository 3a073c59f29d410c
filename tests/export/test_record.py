"""The record beside an export: derived figures, text for people, and the order of files."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from tiny_networks import info_of, trained
from unrun_export import GATE, SPEED, NoSession

from asc.config.experiment import Experiment
from asc.data.dataset import Dataset
from asc.export.formats import Export, Format
from asc.export.onnx import build_onnx
from asc.export.processor import kind, this_machine
from asc.export.record import Kernels, Measured, Record, contents, legend, next_step, records, said, sheet, tree
from asc.export.saturating import products_of
from asc.size.stored_items import stored_items

MEASURED = Measured(gate=GATE, latency=SPEED)


@pytest.fixture(scope="module")
def made(tiny_experiment: Experiment, tiny_dataset: Dataset) -> tuple[Export, tuple[Record, ...]]:
    network = trained(tiny_experiment, tiny_dataset, storage="int8", steps=4)
    info = info_of(tiny_experiment, tiny_dataset, network)
    data = build_onnx(network, info, source="log_mel", compact=True)
    export = Export(
        source="log_mel",
        data=data,
        files={"onnx": {"model.onnx": data}, "c-array": {"model_data.c": b"text", "model_data.h": b"more"}},
        session=NoSession(),
        shortest_samples=800,
        longest_samples=8000,
        products=products_of(data),
    )
    return export, records(export, network, info, measured=MEASURED, data="csv:meta.csv")


def test_each_format_has_a_record_with_derived_figures(
    made: tuple[Export, tuple[Record, ...]], tiny_experiment: Experiment
) -> None:
    export, found = made
    items = stored_items(tiny_experiment)
    payload = sum(item.size_bytes for item in items)
    assert [record.format for record in found] == ["onnx", "c-array"]
    first = tree(found[0])
    assert (first["size_bytes"], first["payload_bytes"]) == (len(export.data), payload)
    assert first["over_payload_bytes"] == len(export.data) - payload
    assert first["sha256"] == hashlib.sha256(export.data).hexdigest()
    assert first["fingerprint"] == tiny_experiment.fingerprint
    assert first["latency"]["ratio_to_torch_float"] == 0.25
    assert first["gate"]["largest_steps"] == 1.0 and first["gate"]["passed"] is True
    assert first["processor"] == kind(*this_machine())
    assert first["products"] == {"pairs": export.products.pairs, "overflowing": 0} and export.products.pairs > 0
    assert first["around"]["functions"] > 0 and tree(found[1])["around"] == {}


def test_text_for_people_names_files_lengths_and_what_takes_bytes(made: tuple[Export, tuple[Record, ...]]) -> None:
    _, found = made
    text = legend(found)
    assert "7 clips of csv:meta.csv" in text and "one step is 0.25" in text
    assert "model.onnx takes log-mel, up to 1 s; its other bytes: " in text and "functions" in text
    assert f"\nchecked with default session options on {kind(*this_machine())}; on others, none of the " in text
    assert "pairs of products in model.onnx can overflow" in text
    assert [row[0] for row in sheet(found).rows] == ["model.onnx", "model_data.c"]
    assert "model_data.c" in next_step(found, Path("there")) and "log_mel" in next_step(found[:1], Path("there"))


def test_records_come_after_their_files(made: tuple[Export, tuple[Record, ...]]) -> None:
    export, found = made
    files = contents(export, found)
    assert list(files) == ["model.onnx", "model.onnx.json", "model_data.c", "model_data.h", "model_data.c.json"]
    assert files["model.onnx"] == export.data
    assert json.loads(files["model.onnx.json"]) == json.loads(json.dumps(tree(found[0])))


@pytest.mark.parametrize("name", ["onnx", "executorch", "litert", "c-array"])
def test_every_format_has_a_next_step(made: tuple[Export, tuple[Record, ...]], name: Format) -> None:
    _, found = made
    record = dataclasses.replace(found[0], file="some.file", format=name)
    assert "there/some.file" in next_step([record], Path("there"))


def test_a_model_card_states_what_was_checked(made: tuple[Export, tuple[Record, ...]]) -> None:
    export, (first, other) = made
    assert said(first) == (
        f"{len(export.data):,} bytes. On 7 clips, in a plain session of onnxruntime {first.versions['onnxruntime']} on "
        f"{kind(*this_machine())}, no logit is more than 1.0 of 1 allowed steps off; 1 clips get another label (their "
        f"top two lie within a step). Saturating products of processors without VNNI, emulated: none of its "
        f"{export.products.pairs:,} pairs can overflow."
    )
    without = dataclasses.replace(other, products=None, gate=dataclasses.replace(GATE, argmax_differs=0))
    assert said(without).endswith("1.0 of 1 allowed steps off; 0 clips get another label.")


@pytest.mark.parametrize(
    ("name", "ran"),
    [
        ("reference", "by LiteRT's reference kernels (ai-edge-litert 2.3.0)"),
        ("TFLite Micro", "by TensorFlow Lite Micro 0.dev1"),
    ],
)
def test_the_card_names_the_kernels_that_it_reports(
    made: tuple[Export, tuple[Record, ...]], tiny_experiment: Experiment, tiny_dataset: Dataset, name: str, ran: str
) -> None:
    network = trained(tiny_experiment, tiny_dataset, storage="int8", steps=4)
    info = info_of(tiny_experiment, tiny_dataset, network)
    export = dataclasses.replace(made[0], decisive={"c-array": name})
    two = dataclasses.replace(GATE, limit_steps=2, clips=3, argmax_differs=0, argmax_excused=0)
    measured = dataclasses.replace(MEASURED, kernels=(Kernels(name=name, gate=two, latency=SPEED),))
    plain, array = records(export, network, info, measured=measured, data="csv:meta.csv")
    assert (plain.gate_kernels, array.gate_kernels) == (None, name) and tree(array)["gate_kernels"] == name
    assert ", in a plain session of onnxruntime " in said(plain)
    array = dataclasses.replace(array, versions={"ai-edge-litert": "2.3.0", "tflite-micro": "0.dev1"})
    assert f" On 3 clips, {ran} on {array.processor}, no logit is more than 1.0 of 2 " in said(array)


def test_table_and_legend_name_kernels_that_fail_the_gate(
    made: tuple[Export, tuple[Record, ...]],
) -> None:
    off = dataclasses.replace(GATE, largest_difference=0.5)
    kernels = (
        Kernels(name="optimised", gate=off, latency=SPEED),
        Kernels(name="reference", gate=GATE, latency=dataclasses.replace(SPEED, milliseconds=24.0)),
    )
    record = dataclasses.replace(made[1][0], file="model.tflite", format="litert", kernels=kernels)
    assert [row[0] for row in sheet([record]).rows] == [
        "model.tflite",
        "  optimised kernels",
        "  reference kernels",
    ]
    assert sheet([record]).rows[2][3:5] == ("24.0", "6.00")
    array = dataclasses.replace(record, file="model_data.c", format="c-array")
    assert [row[0] for row in sheet([record, array]).rows][3:] == ["model_data.c"], (
        "rows of the same kernels must not be repeated"
    )
    other_bytes = dataclasses.replace(array, sha256="0")
    assert len(sheet([record, other_bytes]).rows) == 6
    text = legend([record])
    assert "model.tflite: the gate holds for XNNPACK and reference kernels" in text
    assert "not for optimised kernels (a logit is 2.0 steps off, 1 are allowed)" in text
    passed = dataclasses.replace(record, kernels=kernels[1:])
    assert " not for " not in legend([passed])
