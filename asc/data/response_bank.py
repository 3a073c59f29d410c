"""The impulse responses that training may put on clips of the reference device: `augment.impulse_response_p`.

Morocutti et al. 2023, https://arxiv.org/abs/2305.07499. In the benchmark of `asc.data.devices` the unheard devices are
responses of the same collection, MicIRP. So those of their makers, which `microphones.toml` lists, are left out.
"""

import tomllib
from importlib import resources
from pathlib import Path

from asc.data.devices import REFERENCE_DEVICE, UNSEEN_DEVICES, device_list
from asc.data.impulse_response import Response, read_response
from asc.data.manifest import Manifest
from asc.errors import AudioProblem, InputError, some


def read_bank(folder: Path) -> tuple[Response, ...]:
    """Read and check the responses below a folder, sorted by path; microphones of the unheard devices are left out.

    Raises:
        InputError: the folder does not exist, has no usable WAV file, or has one that is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist or is not a folder: give the folder of the impulse responses")
    kept_out = of_unseen_makers()
    paths = sorted(path for path in folder.rglob("*.wav") if path.relative_to(folder).as_posix() not in kept_out)
    if not paths:
        raise InputError(
            f"{folder} has no impulse responses (WAV files) that training may use: give a folder that has, "
            "or set augment.impulse_response_p=0"
        )
    return tuple(_read(path) for path in paths)


def check_reference(manifest: Manifest) -> None:
    """Check that training hears the reference device, whose clips alone are changed.

    Raises:
        InputError: it does not.
    """
    heard = sorted({clip.device for clip in manifest.clips if clip.split == "train"})
    if REFERENCE_DEVICE not in heard:
        raise InputError(
            f"augment.impulse_response_p changes clips of device {REFERENCE_DEVICE} alone, and the training clips of "
            f"{manifest.spec} are of {some(heard)}: name the devices, or set augment.impulse_response_p=0"
        )


def makers() -> dict[str, tuple[str, ...]]:
    """The files of MicIRP, relative to its folder, by maker."""
    table = tomllib.loads((resources.files("asc.data") / "microphones.toml").read_text("utf-8"))
    return {maker: tuple(files) for maker, files in table.items()}


def of_unseen_makers() -> frozenset[str]:
    """The files of MicIRP whose maker made the microphone of a device that training never hears."""
    devices = device_list()
    unseen = {devices[name].maker for name in UNSEEN_DEVICES}
    return frozenset(file for maker, files in makers().items() if maker in unseen for file in files)


def _read(path: Path) -> Response:
    try:
        return read_response(path, device=REFERENCE_DEVICE)
    except AudioProblem as problem:
        raise InputError(f"{path} cannot be used as an impulse response ({problem}): replace or remove it") from problem
