"""The bank of responses for training: none is of a maker of the devices that only the test hears."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc.config.data_choice import DataChoice
from asc.data.devices import UNSEEN_DEVICES, device_list
from asc.data.manifest import Clip, Manifest
from asc.data.response_bank import check_reference, makers, of_unseen_makers, read_bank
from asc.errors import InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "micirp"


def test_the_lists_of_devices_and_of_makers_agree() -> None:
    files = [file for found in makers().values() for file in found]
    assert len(files) == len(set(files)) == 66, "MicIRP has 66 microphones"
    for device in device_list().values():
        assert device.file in makers()[device.maker]


def test_no_file_of_an_unseen_maker_is_left() -> None:
    unseen = {device_list()[name].maker for name in UNSEEN_DEVICES}
    left = {maker for maker, files in makers().items() if not of_unseen_makers().issuperset(files)}
    assert unseen == {"Foster", "GEC", "Lomo"}
    assert not unseen & left


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    impulse = np.zeros(100)
    impulse[3] = 0.5
    soundfile.write(path, impulse, 16_000)


def test_a_folder_is_read_without_the_unseen_makers(tmp_path: Path) -> None:
    for file in ("audio/IR_FosterDynamicDF1.wav", "audio/GEC_2373.wav", "audio/Altec_639.wav", "own/mine.wav"):
        write(tmp_path / file)
    assert [response.path.name for response in read_bank(tmp_path)] == ["Altec_639.wav", "mine.wav"]


@pytest.mark.skipif(not REAL.is_dir(), reason="MicIRP is not available")
def test_the_real_collection_is_the_list() -> None:
    assert {path.relative_to(REAL).as_posix() for path in REAL.rglob("*.wav")} == {
        file for files in makers().values() for file in files
    }


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist or is not a folder: give the folder"):
        read_bank(tmp_path / "none")
    with pytest.raises(InputError, match="has no impulse responses .* or set augment.impulse_response_p=0"):
        read_bank(tmp_path)
    write(tmp_path / "audio" / "GEC_2373.wav")
    with pytest.raises(InputError, match="has no impulse responses"):
        read_bank(tmp_path)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"bad.wav cannot be used as an impulse response \(.*\): replace or remove it"):
        read_bank(tmp_path)
    with pytest.raises(InputError, match="give their folder as --augment-irs DIR, or set"):
        _ = DataChoice("synthetic").response_bank


def test_data_without_the_reference_device_are_refused() -> None:
    clips = tuple(Clip(path=p, label=p, device="phone", group=p, split="train") for p in "xy")
    manifest = Manifest(choice=DataChoice("folder:D"), labels=("x", "y"), clips=clips)
    with pytest.raises(InputError, match="device a alone, and the training clips of folder:D are of phone: name the"):
        check_reference(manifest)
    heard = Clip(path="z", label="x", device="a", group="z", split="train")
    check_reference(Manifest(choice=manifest.choice, labels=("x", "y"), clips=(*clips, heard)))


def test_the_bank_is_that_of_the_devices_unless_another_is_given(tmp_path: Path) -> None:
    both = DataChoice("esc10:x", device_irs=str(tmp_path), augment_irs="own")
    assert both.response_bank == Path("own")
    assert DataChoice("esc10:x", device_irs=str(tmp_path)).response_bank == tmp_path
    shutil.rmtree(tmp_path)
