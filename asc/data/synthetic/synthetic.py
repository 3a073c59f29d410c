"""A built-in data set modelled on TAU Urban Acoustic Scenes 2020 Mobile (Heittola et al. 2020, arXiv:2005.14623).

Ten scenes with locations, moments and the devices a, b, c, s1..s6 are generated from a seed, without files. Clips are
3 s long (TAU's are 10 s) for speed. As in TAU, most training clips are from device a, and the others are the same
moments through another device. Devices s4..s6 occur only in test, and no test location is a training location.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from asc.data.rows import Row
from asc.data.synthetic.synthetic_scenes import SCENES, scene_waveform
from asc.data.synthetic_devices import DEVICES, record
from asc.data.synthetic_sound import Wave, random_state
from asc.errors import InputError

SAMPLE_RATE_HZ = 44_100
VERSION = 1  # of the generator; a store packed by another version is not reused
TRAIN_DEVICES = ("b", "c", "s1", "s2", "s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """Parameters of the generator: the seed, and the number of locations and moments per scene.

    At each training location, device a records `train_moments` moments, and one other device also records the first.
    """

    seed: int = 0
    clip_s: float = 3.0
    train_locations: int = 21
    train_moments: int = 3
    test_locations: int = 4
    test_moments: int = 1

    @property
    def identity(self) -> str:
        """Parameters and generator version; equal if and only if the generated audio is."""
        return f"{self!r} v{VERSION}"

    @property
    def clip_samples(self) -> int:
        """Length of every clip in samples at `SAMPLE_RATE_HZ`."""
        return round(self.clip_s * SAMPLE_RATE_HZ)

    def rows(self) -> tuple[Row, ...]:
        """Return the rows of the set, train before test. Paths are arguments for `render`, not files."""
        train = [
            self._row(scene, place, moment, device, test=False)
            for number, scene in enumerate(SCENES)
            for place in range(self.train_locations)
            for moment, device in [
                *((moment, "a") for moment in range(self.train_moments)),
                (0, TRAIN_DEVICES[(number + place) % len(TRAIN_DEVICES)]),
            ]
        ]
        test = [
            self._row(scene, self.train_locations + place, moment, device, test=True)
            for scene in SCENES
            for place in range(self.test_locations)
            for moment in range(self.test_moments)
            for device in DEVICES
        ]
        return (*train, *test)

    def _row(self, scene: str, place: int, moment: int, device: str, *, test: bool) -> Row:
        location = f"{scene}-loc{place:02}"
        return Row(
            path=f"synthetic/{location}-{moment:03}-{device}",
            label=scene,
            device=device,
            group=location,
            given="test" if test else "train",
        )

    def render(self, path: str) -> NDArray[np.float32]:
        """Generate the waveform of a row, (samples,) float32 at `SAMPLE_RATE_HZ`, full scale 1.

        It depends on the parameters and the path only.

        Raises:
            ValueError: `path` is not the path of a synthetic clip.
        """
        match = re.fullmatch(r"synthetic/(\w+)-(loc\d+)-(\d+)-(\w+)", path)
        if match is None or match[1] not in SCENES or match[4] not in DEVICES:
            raise ValueError(f"{path} is not the path of a synthetic clip")
        scene, place, moment, device = match.groups()
        sound = _moment(self.seed, scene, place, moment, self.clip_samples)
        return record(sound, device=device, noise=random_state(self.seed, path), sample_rate_hz=SAMPLE_RATE_HZ)


@lru_cache(maxsize=8)  # rows that are another device's recording of the same moment stand near each other
def _moment(seed: int, scene: str, place: str, moment: str, samples: int) -> Wave:
    """The sound of a scene before a device records it, (samples,) float64, read-only."""
    sound = scene_waveform(
        scene,
        place=random_state(seed, scene, place),
        moment=random_state(seed, scene, place, moment),
        samples=samples,
        sample_rate_hz=SAMPLE_RATE_HZ,
    )
    sound.flags.writeable = False
    return sound


def parse_synthetic(seed: str) -> Synthetic:
    """Return the set for `synthetic:SEED`; an empty seed means 0.

    Raises:
        InputError: the seed is not a whole number.
    """
    if not seed:
        return Synthetic()
    if not seed.isdecimal():
        raise InputError(f"data synthetic:{seed}: the seed must be a whole number, such as synthetic:7")
    return Synthetic(seed=int(seed))
