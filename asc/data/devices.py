"""`--device-irs DIR`: turn a one-device data set into a nine-device set with measured microphone impulse responses.

The protocol follows TAU Urban Acoustic Scenes 2020 Mobile (Heittola et al. 2020, arXiv:2005.14623). ESC-10 with MicIRP
(http://micirp.blogspot.com) is this project's standing benchmark, so a changed protocol needs a new name.

1. Devices: `devices.toml` assigns a response to each device, and says why. `a` is the reference, `b c s1 s2 s3` occur
   in training, `s4 s5 s6` only in test. No microphone family or maker occurs in both.
2. Splits: made from the original set, before clips are copied. For every fold and data seed a clip is in the same split
   with and without devices. All copies of a clip are in its split and its group.
3. train, valid, calibration: every clip goes through device a. In each of these splits, each of `b c s1 s2 s3` gets
   copies of 750 / 10,215 = 7.34 % of the clips (rounded, at least one), as in TAU's training part. Two devices share a
   clip only if there are too few clips. The draw depends on the data seed and the paths, and is stratified by label:
   the clips of each label are put in hashed order and spread evenly over one list of the split. Each device in turn
   takes the next stretch of that list.
4. test: every clip goes through all nine devices.
   With `--holdout-devices`, some of `b c s1 s2 s3` occur in valid and calibration only: there, every clip goes through
   each of them and through no other device.
5. Audio: every clip, including device a's, is convolved with its device's response (`asc.data.impulse_response`).
   No compression and no noise are added.

A set with more than one device is refused: a simulated microphone on top of a real one would represent neither.
TAU and the synthetic set already have several devices.
"""

import hashlib
import os
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from asc.data.impulse_response import Response, read_response
from asc.data.rows import Row
from asc.data.splits import LEARNING_SPLITS
from asc.errors import AudioProblem, InputError
from asc.results import Split

REFERENCE_DEVICE = "a"
TRAINING_DEVICES = ("b", "c", "s1", "s2", "s3")
UNSEEN_DEVICES = ("s4", "s5", "s6")
DEVICES = (REFERENCE_DEVICE, *TRAINING_DEVICES, *UNSEEN_DEVICES)
TAU_SHARE = 750 / 10_215  # clips of each other training device per clip of device a


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An entry of the device list: the response file (relative to the responses folder) and the microphone."""

    file: str
    maker: str
    family: str


def device_list() -> dict[str, Device]:
    """Return the nine devices by name, in the order of `DEVICES`."""
    table = tomllib.loads((resources.files("asc.data") / "devices.toml").read_text("utf-8"))
    return {name: Device(**table[name]) for name in DEVICES}


def read_devices(folder: Path) -> tuple[Response, ...]:
    """Read and check the responses of the nine devices, in the order of `DEVICES`.

    Raises:
        InputError: the folder does not exist, or listed files are missing or unusable (all of them are named).
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist or is not a folder: give the folder of the impulse responses (MicIRP)"
        )
    paths = {name: folder / device.file for name, device in device_list().items()}
    absent = [f"{paths[name].relative_to(folder)} ({name})" for name in DEVICES if not paths[name].is_file()]
    if absent:
        raise InputError(
            f"{folder} lacks {len(absent)} of the {len(DEVICES)} impulse responses that the devices need, add them: "
            f"{', '.join(absent)}"
        )
    found = [_response(paths[name], name) for name in DEVICES]
    bad = [f"{paths[name]} ({r})" for name, r in zip(DEVICES, found, strict=True) if isinstance(r, AudioProblem)]
    if bad:
        raise InputError(f"{len(bad)} impulse response(s) cannot be used, replace them: {'; '.join(bad)}")
    return tuple(response for response in found if isinstance(response, Response))


def check_one_device(rows: Sequence[Row], *, source: str) -> None:
    """Check that a set has only one device. `source` names the set in errors.

    Raises:
        InputError: it has several.
    """
    own = sorted({row.device for row in rows})
    if len(own) > 1:
        raise InputError(
            f"{source} already has {len(own)} devices ({', '.join(own)}): impulse responses are for sets of one "
            "device, so leave them out"
        )


def device_copies(
    clips: Sequence[tuple[str, str, Split]], *, data_seed: int, holdout: Sequence[str] = ()
) -> tuple[tuple[int, str], ...]:
    """Decide which clips are heard through which devices.

    Takes (path, label, split) per clip and returns (clip index, device) per copy, sorted by clip, then as `DEVICES`.
    The devices of `holdout` are kept for valid, calibration and confirmation.
    """
    devices = [{REFERENCE_DEVICE} if split != "test" else set(DEVICES) for _, _, split in clips]
    for split in (*LEARNING_SPLITS, "confirmation"):
        names = [(path, label, number) for number, (path, label, where) in enumerate(clips) if where == split]
        spread = _spread(names, data_seed)
        share = max(1, round(TAU_SHARE * len(spread)))
        stretches = [number for _ in range(len(TRAINING_DEVICES)) for number in spread]  # starts over at the end
        for place, device in enumerate(TRAINING_DEVICES):
            for number in stretches[place * share : (place + 1) * share]:
                devices[number].add(device)
    for number, (_, _, split) in enumerate(clips):
        if holdout and split == "train":
            devices[number] -= set(holdout)
        elif holdout and split != "test":
            devices[number] = set(holdout)
    return tuple((number, name) for number, heard in enumerate(devices) for name in DEVICES if name in heard)


def check_holdout(holdout: Sequence[str], devices: Iterable[str], *, source: str) -> None:
    """Check the devices of `--holdout-devices` against those that training could hear.

    Raises:
        InputError: one is no device of the training part, or none would be left for training.
    """
    there = sorted(set(devices))
    if unknown := sorted(set(holdout) - set(there)):
        raise InputError(
            f"--holdout-devices {', '.join(unknown)}: {source} has no such device in its training part; "
            f"it has {', '.join(there)}"
        )
    if set(there) <= set(holdout):
        raise InputError(f"--holdout-devices names all devices of {source}: leave at least one for training")


def _spread(names: Sequence[tuple[str, str, int]], data_seed: int) -> list[int]:
    """Order the indices of (path, label, index) so that every stretch of them has the same mix of labels."""
    clips: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for path, label, number in names:
        clips[label].append((hashlib.sha256(os.fsencode(f"device/{data_seed}/{path}")).digest(), number))
    placed = [
        ((place + 0.5) / len(hashed), order, number)
        for hashed in clips.values()
        for place, (order, number) in enumerate(sorted(hashed))
    ]
    return [number for _, _, number in sorted(placed)]


def _response(path: Path, device: str) -> Response | AudioProblem:
    try:
        return read_response(path, device=device)
    except AudioProblem as problem:
        return problem
