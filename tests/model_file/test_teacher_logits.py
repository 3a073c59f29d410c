"""Files of teacher logits: written and read again, averaged, and refused in one sentence that names file and key."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from asc.errors import InputError
from asc.model_file.teacher_logits import TeacherLogits, read_teacher_logits, write_teacher_logits
from asc.results import TeacherNetwork

FILES, LABELS = ("a.wav", "b.wav@s1", "c.wav"), ("bus", "tram")


def logits(teachers: int = 2) -> torch.Tensor:
    return torch.randn(teachers, len(FILES), len(LABELS), generator=torch.Generator().manual_seed(0))


def teacher(teachers: int = 2) -> TeacherLogits:
    networks = (TeacherNetwork(name="t003", kilobytes=61.25), TeacherNetwork(name="big"))
    return TeacherLogits(source="x", files=FILES, labels=LABELS, logits=logits(teachers), teachers=networks)


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_is_read_as_it_was_written(tmp_path: Path, count: int) -> None:
    path = tmp_path / "t.safetensors"
    write_teacher_logits(path, teacher(count))
    found = read_teacher_logits(path)
    assert torch.equal(found.logits, logits(count)) and (found.files, found.labels) == (FILES, LABELS)
    assert found.taught == teacher(count).taught and found.teachers == teacher().teachers
    assert found.taught.digest != teacher(3 - count).taught.digest


def test_a_file_of_any_writer_is_read(tmp_path: Path) -> None:
    path = tmp_path / "passt.safetensors"
    metadata = {"files": json.dumps(FILES), "labels": json.dumps(LABELS), "by": "anybody"}
    save_file({"logits": logits()[0]}, path, metadata=metadata)
    found = read_teacher_logits(path)
    assert found.logits.shape == (1, 3, 2) and found.teachers == (TeacherNetwork(name="passt"),)


def test_the_mean_is_that_of_probabilities_in_the_order_of_the_data() -> None:
    expected = torch.softmax(logits(), dim=2).mean(dim=0)
    torch.testing.assert_close(torch.softmax(teacher().mean(), dim=1), expected)
    found = teacher().of(("c.wav", "a.wav"), ("tram", "bus"))
    torch.testing.assert_close(torch.softmax(found, dim=1), expected[[2, 0]][:, [1, 0]])
    wild = TeacherLogits(source="x", files=("a",), labels=LABELS, logits=torch.tensor([[[3e38, -3e38]]]), teachers=())
    assert bool(torch.isfinite(torch.softmax(wild.mean() / 2, dim=1)).all())


def test_other_labels_and_clips_without_logits_are_refused() -> None:
    with pytest.raises(InputError, match=r"^x: labels are bus, tram, but the data have bus, metro: give logits of"):
        teacher().of(("a.wav",), ("bus", "metro"))
    with pytest.raises(InputError, match=r"^x: files lacks 2 of 3 training clips, such as d.wav: give logits of every"):
        teacher().of(("d.wav", "a.wav", "e.wav"), LABELS)


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"other": logits()}, {}, "logits is missing: write a tensor of that name"),
    ({"logits": logits().double()}, {}, r"logits must be float32 and of shape .* but is float64 and \(2, 3, 2\)"),
    ({"logits": logits()[0, 0]}, {}, r"logits must be float32 and of shape .* but is float32 and \(2,\)"),
    (
        {"logits": logits()[:, :2].contiguous()},
        {},
        "logits is for 2 clips, 2 classes and 2 teachers, but files names 3 and labels 2",
    ),
    ({"logits": logits() / torch.tensor([[1.0], [0.0], [1.0]])}, {}, "logits of b.wav@s1 is not finite"),
    ({"logits": logits()}, {"files": None}, "files is missing in the metadata of the header"),
    ({"logits": logits()}, {"labels": "bus, tram"}, "labels in the metadata is not the JSON list"),
    ({"logits": logits()}, {"labels": "[1, 2]"}, "labels in the metadata .*must be a text, got 1"),
    ({"logits": logits()}, {"files": '["a", "b", "a"]'}, "files has a twice: name each once"),
    ({"logits": logits()}, {"teachers": '[["t003", "61"]]'}, "teachers must be pairs of a name and a number of KB"),
]


@pytest.mark.parametrize(("tensors", "changes", "sentence"), WRONG)
def test_a_wrong_file_is_one_sentence(
    tmp_path: Path, tensors: dict[str, torch.Tensor], changes: dict[str, str | None], sentence: str
) -> None:
    path = tmp_path / "t.safetensors"
    metadata = {"files": json.dumps(FILES), "labels": json.dumps(LABELS), **changes}
    save_file(tensors, path, metadata={key: text for key, text in metadata.items() if text is not None})
    with pytest.raises(InputError, match=sentence) as caught:
        read_teacher_logits(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_file_and_no_safetensors_file_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(InputError, match="t.safetensors does not exist: give a safetensors file with the logits"):
        read_teacher_logits(path)
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(
        InputError, match="t.safetensors is not a safetensors file or is damaged .*: give an intact one"
    ):
        read_teacher_logits(path)
