"""The account of a file's bytes sums to the file's size and agrees with the size law."""

import dataclasses

import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx_networks import SMALL, model_info, stored_network

from asc.config.experiment import Compression, Experiment, Storage
from asc.export.onnx import Source, build_onnx, byte_account
from asc.export.onnx_bytes import ByteAccount
from asc.size.stored_items import stored_items

HALF = dataclasses.replace(SMALL, compression=Compression(storage="float16"))
BLOCKS = sum(SMALL.architecture.depths)


def predicted(experiment: Experiment, *kinds: str) -> int:
    """Bytes of all stored items of these kinds, by the size law."""
    items = stored_items(experiment)
    return sum(item.size_bytes for item in items if item.kind in kinds)


def stored_bytes(account: ByteAccount) -> int:
    return sum(row.size_bytes for row in account.rows if row.stored)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("source", ["log_mel", "waveform"])
@pytest.mark.parametrize("experiment", [SMALL, HALF], ids=["int8", "float16"])
def test_the_rows_sum_to_the_file_and_name_nearly_all_of_it(
    experiment: Experiment, source: Source, compact: bool
) -> None:
    data = build_onnx(stored_network(experiment), model_info(experiment), source=source, compact=compact)
    account = byte_account(data)
    assert len(data) == sum(row.size_bytes for row in account.rows)
    rows = {row.name: row for row in account.rows}
    assert len(rows) == len(account.rows)
    assert 20 <= rows["versions and frame"].size_bytes <= 60
    model = onnx.load_from_string(data)
    assert rows["metadata: labels"].size_bytes == len(model.metadata_props[0].SerializeToString()) + 2
    numbers = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    assert stored_bytes(account) + rows["numbers that operators need"].size_bytes == numbers


@pytest.mark.parametrize("compact", [True, False])
def test_int8_bytes_equal_the_size_law_except_for_norms_and_zero_points(compact: bool) -> None:
    network = stored_network(SMALL)
    account = byte_account(build_onnx(network, model_info(SMALL), source="log_mel", compact=compact))
    stored = {row.name: row.size_bytes for row in account.rows if row.stored}
    points = [int(value) for name, value in network.state_dict().items() if name.endswith("zero_point")]
    assert stored == {
        "weights": predicted(SMALL, "weight"),
        "biases": predicted(SMALL, "bias"),
        "weight scales": predicted(SMALL, "weight_scale"),
        "activation scales": predicted(SMALL, "activation_scale"),
        "activation zero points": sum(point != 0 for point in points),
        "SE weights and biases": predicted(SMALL, "se"),
    }


@pytest.mark.parametrize("compact", [True, False])
def test_float16_bytes_equal_the_size_law(compact: bool) -> None:
    account = byte_account(build_onnx(stored_network(HALF), model_info(HALF), source="waveform", compact=compact))
    assert stored_bytes(account) == predicted(HALF, "weight", "bias", "se", "se_batch_norm")
    stored = {row.name: row.size_bytes for row in account.rows if row.stored}
    assert stored["SE bottleneck batch norm"] == predicted(HALF, "se_batch_norm")


@pytest.mark.parametrize("storage", ["int8", "float16"])
def test_the_numbers_of_a_band_norm_are_the_networks(storage: Storage) -> None:
    front_end = dataclasses.replace(SMALL.front_end, normalisation="per_band")
    experiment = dataclasses.replace(SMALL, front_end=front_end, compression=Compression(storage=storage))
    account = byte_account(build_onnx(stored_network(experiment), model_info(experiment), source="waveform"))
    stored = {row.name: row.size_bytes for row in account.rows if row.stored}
    assert stored["means and deviations of the bands"] == predicted(experiment, "band_norm") > 0


def test_longer_labels_change_only_their_own_row() -> None:
    network, info = stored_network(SMALL), model_info(SMALL)
    longer = dataclasses.replace(info, labels=(*info.labels[:-1], "x" * 500))
    rows, others = (
        {row.name: row.size_bytes for row in byte_account(build_onnx(network, said, source="log_mel")).rows}
        for said in (info, longer)
    )
    assert {name for name in rows if rows[name] != others[name]} == {"metadata: labels"}


def test_bytes_that_are_not_an_onnx_file_are_refused() -> None:
    with pytest.raises(DecodeError):
        byte_account(b"no file of ONNX")
