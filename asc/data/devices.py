"""`--device-irs DIR`: a data set of one device made into one of nine, by measured microphone impulse responses.

The protocol, after TAU Urban Acoustic Scenes 2020 Mobile (Heittola et al. 2020, arXiv:2005.14623). Over ESC-10 with
MicIRP (http://micirp.blogspot.com) it is this project's standing benchmark, so a change of it needs a new name.

1. Devices: `devices.toml` says which response is which device, and why. `a` is the reference, `b c s1 s2 s3` are
   heard in training, `s4 s5 s6` occur in the test part only; no family of microphones, and no maker, is in both.
2. Splits: made from the set as it is, before any copy. Every fold and data seed has the same clips in the same splits
   with and without devices. All copies of a clip lie in its split and its group.
3. train, valid, calibration: every clip through device a. In each of these splits, each of `b c s1 s2 s3` hears
   750 / 10,215 = 7.34 % of the clips as well (rounded, at least one), as in TAU's training part: the same moments as
   a's. No two devices share one while there are enough clips. They are drawn from the data seed and the paths,
   stratified by label: the clips of every label are put in hashed order and spread evenly over one list of the split,
   of which each device in turn takes the next stretch.
4. test: every clip through all nine devices, the same moments.
5. Audio: nothing is kept as it was recorded; a clip is convolved with its device's response as
   `asc.data.impulse_response` says. No compression and no noise are added.

A set whose clips name more than one device is refused: another microphone on top of its own would be neither of the
two, and TAU and the synthetic set are multi-device benchmarks already.
"""

import hashlib
import os
import tomllib
from collections import defaultdict
from collections.abc import Sequence
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
TAU_SHARE = 750 / 10_215  # clips of another training device for each of device a's


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A line of the device list: the file below the folder of responses, and whose microphone it is."""

    file: str
    maker: str
    family: str


def device_list() -> dict[str, Device]:
    """The nine devices by name, in the order of `DEVICES`."""
    table = tomllib.loads((resources.files("asc.data") / "devices.toml").read_text("utf-8"))
    return {name: Device(**table[name]) for name in DEVICES}


def read_devices(folder: Path) -> tuple[Response, ...]:
    """The responses of the nine devices, checked, in the order of `DEVICES`.

    Raises:
        InputError: no such folder, files of the list that are not there, or that cannot be used; all are named.
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
    """Check that a set, named `source` in errors, has no devices of its own.

    Raises:
        InputError: it has more than one.
    """
    own = sorted({row.device for row in rows})
    if len(own) > 1:
        raise InputError(
            f"{source} has {len(own)} devices of its own ({', '.join(own)}): impulse responses are for sets of one "
            "device, so leave them out"
        )


def device_copies(clips: Sequence[tuple[str, str, Split]], *, data_seed: int) -> tuple[tuple[int, str], ...]:
    """Which clips are heard through which devices, from their (path, label, split): (number of the clip, device).

    In the order of the clips, and for each in that of `DEVICES`.
    """
    devices = [{REFERENCE_DEVICE} if split != "test" else set(DEVICES) for _, _, split in clips]
    for split in LEARNING_SPLITS:
        names = [(path, label, number) for number, (path, label, where) in enumerate(clips) if where == split]
        spread = _spread(names, data_seed)
        share = max(1, round(TAU_SHARE * len(spread)))
        stretches = [number for _ in range(len(TRAINING_DEVICES)) for number in spread]  # from the start when it ends
        for place, device in enumerate(TRAINING_DEVICES):
            for number in stretches[place * share : (place + 1) * share]:
                devices[number].add(device)
    return tuple((number, name) for number, heard in enumerate(devices) for name in DEVICES if name in heard)


def _spread(names: Sequence[tuple[str, str, int]], data_seed: int) -> list[int]:
    """The numbers of (path, label, number) in an order in which every stretch has its share of every label."""
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
