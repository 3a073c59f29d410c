"""Verifying a tree: complete ones pass, and every kind of damage is named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc.data.download.verify import Damaged, Verified, advice, lines, verify
from asc.data.tau import SCENES
from asc.errors import InputError

RATE_HZ = 44_100
SAMPLES = 5_000


def sound(file: Path, *, samples: int = SAMPLES, rate_hz: int = RATE_HZ) -> None:
    soundfile.write(file, 0.01 * np.sin(np.arange(samples)), rate_hz, subtype="PCM_24")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TAU tree of 10 scenes x 5 places x 1 device: three places in train, one in test, one in neither."""
    root = tmp_path_factory.mktemp("tau") / "TAU-urban-acoustic-scenes-2020-mobile-development"
    (root / "audio").mkdir(parents=True)
    (root / "evaluation_setup").mkdir()
    meta, train, test = ["filename\tscene_label\tidentifier\tsource_label"], ["filename\tscene_label"], ["filename"]
    for number, scene in enumerate(SCENES):
        for place in range(5):
            name = f"audio/{scene}-lyon-{number}{place}-7-a.wav"
            sound(root / name, samples=SAMPLES + place % 3)
            meta.append(f"{name}\t{scene}\tlyon-{number}{place}\ta")
            if place < 3:
                train.append(f"{name}\t{scene}")
            elif place == 3:
                test.append(name)
    (root / "meta.csv").write_text("\n".join(meta) + "\n")
    (root / "evaluation_setup" / "fold1_train.csv").write_text("\n".join(train) + "\n")
    (root / "evaluation_setup" / "fold1_test.csv").write_text("\n".join(test) + "\n")
    return root


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def test_a_complete_tree_passes(whole: Path) -> None:
    told: list[tuple[int, int]] = []
    found = verify(f"tau2020:{whole}", progress=lambda done, total: told.append((done, total)))
    assert found.whole and found.listed == 50 and found.root == str(whole)
    assert found.parts == {"train": 30, "test": 10, "neither": 10} and found.devices == {"a": 50}
    assert told == [(done, 50) for done in range(1, 51)]
    assert found.notes == (
        "the published set lists 23,035 clips, 13,962 of them train and 2,968 test: this one differs",
        "the clips are 0.113 s at 44,100 Hz, the published ones 10 s at 44,100 Hz",
    )
    assert lines(found)[0] == f"{whole}: 50 clips listed (30 train, 10 test, 10 neither)"
    assert verify(f"tau2020:{whole.parent}").root == str(whole)


def test_every_kind_of_damage_is_named(tree: Path) -> None:
    audio = tree / "audio"
    (audio / "bus-lyon-10-7-a.wav").unlink()
    (audio / "bus-lyon-11-7-a.wav").write_bytes((audio / "bus-lyon-11-7-a.wav").read_bytes()[:3_000])
    (audio / "bus-lyon-12-7-a.wav").write_bytes(b"")
    (audio / "bus-lyon-13-7-a.wav").write_text("no sound")
    sound(audio / "bus-lyon-14-7-a.wav", rate_hz=48_000)
    sound(audio / "tram-lyon-90-7-a.wav", samples=2 * SAMPLES)
    sound(audio / "tram-lyon-99-7-a.wav")
    (audio / ".DS_Store").touch()
    meta = (tree / "meta.csv").read_text()
    (tree / "meta.csv").write_text(meta.replace("lyon-91\ta", "lyon-91\tb"))
    found = verify(f"tau2020:{tree}")
    assert not found.whole and found.missing == ("audio/bus-lyon-10-7-a.wav",)
    assert found.extra == ("audio/tram-lyon-99-7-a.wav",)
    problems = {each.path.removeprefix("audio/"): each.problem for each in found.damaged}
    assert problems.keys() == {*(f"bus-lyon-1{place}-7-a.wav" for place in range(1, 5)), "tram-lyon-90-7-a.wav"}
    assert problems["bus-lyon-11-7-a.wav"].startswith("cut off: ")
    assert problems["bus-lyon-12-7-a.wav"] == "empty file"
    assert problems["bus-lyon-13-7-a.wav"].startswith("unreadable")
    assert problems["bus-lyon-14-7-a.wav"] == "48,000 Hz, but most of the set has 44,100 Hz"
    assert problems["tram-lyon-90-7-a.wav"] == "0.227 s long, but most of the set is 0.113 s"
    assert [problem.names for problem in found.wrong] == [("audio/tram-lyon-91-7-a.wav",)]
    assert found.summary() == "1 missing, 1 extra, 5 damaged, 1 wrong metadata"
    text = lines(found, at_most=2)
    assert text[-1].startswith("damaged: 5 file(s): audio/bus-lyon-11-7-a.wav (cut off") and "and 3 more" in text[-1]
    assert "missing: 1 file(s): audio/bus-lyon-10-7-a.wav" in text and "extra: 1 file(s): " in "\n".join(text)


def test_without_meta_csv_no_file_is_extra_or_missing(tree: Path) -> None:
    (tree / "meta.csv").unlink()
    found = verify(f"tau2020:{tree}")
    assert not found.whole and found.extra == found.missing == () and found.listed == 0
    assert [str(problem) for problem in found.wrong] == [
        f"{tree / 'meta.csv'} is missing: fetch the metadata again with python launch/data.py download"
    ]


def test_an_evaluation_set_is_verified(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    for number in range(4):
        sound(tmp_path / "audio" / f"{number}.wav")
    names = "\n".join(["filename", *(f"audio/{number}.wav" for number in range(5))])
    (tmp_path / "evaluation_setup" / "fold1_test.csv").write_text(names)
    found = verify(f"tau2022:{tmp_path}")
    assert found.parts == {"test": 5} and found.devices == {} and found.missing == ("audio/4.wav",)
    sound(tmp_path / "audio" / "4.wav")
    assert verify(f"tau2022:{tmp_path}").whole


def test_a_set_as_published_has_no_note(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    sound(tmp_path / "audio" / "0.wav", samples=RATE_HZ)
    (tmp_path / "evaluation_setup" / "fold1_test.csv").write_text("filename\naudio/0.wav\n")
    assert verify(f"tau2022:{tmp_path}").notes == ()


def test_other_kinds_of_set_are_verified(tiny_csv: Path, tmp_path: Path) -> None:
    found = verify(f"csv:{tiny_csv}")
    assert found.whole and found.listed == 96 and found.devices == {"a": 48, "b": 48} and found.notes == ()
    copy = Path(shutil.copytree(tiny_csv.parent, tmp_path / "copy"))
    (copy / "up_slow-03-1.wav").write_bytes(b"")
    broken = verify(f"csv:{copy / 'meta.csv'}")
    assert broken.damaged == (Damaged(path="up_slow-03-1.wav", problem="empty file"),)
    assert advice(broken).endswith("is not complete (1 damaged): repair these files or leave them out")
    (copy / "up_slow-03-1.wav").unlink()
    with pytest.raises(InputError, match="that do not exist"):
        verify(f"csv:{copy / 'meta.csv'}")
    with pytest.raises(InputError, match="is generated, so there is nothing to verify"):
        verify("synthetic")
    with pytest.raises(InputError, match="has no path"):
        verify("tau2020:")


def test_advice_names_the_command_that_repairs(tree: Path) -> None:
    def found(**kinds: object) -> Verified:
        fields: dict[str, object] = {"listed": 50, "parts": {}, "devices": {}, **kinds}
        return Verified(spec=f"tau2020:{tree}", root=str(tree), **fields)  # type: ignore[arg-type]

    damaged, extra = (Damaged(path="x", problem="cut off"),), ("y",)
    assert advice(found(missing=("x",))).endswith(
        "(1 missing): restore the missing files, or fetch the set with python launch/data.py download"
    )
    (tree.parent / ".asc-download").mkdir()
    assert advice(found(damaged=damaged, extra=extra)).endswith(
        "(1 extra, 1 damaged): delete the damaged and extra files, then run "
        f"python launch/data.py download tau2020 --to {tree.parent}, which fetches only the parts with missing files"
    )
