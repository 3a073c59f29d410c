"""The choice of data: one description that runs, searches, workers and model files share."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from asc.errors import InputError

Part = Literal["development", "confirmed", "all"]


@dataclass(frozen=True, slots=True)
class DataChoice:
    """A data set as `--data` names it, and everything that decides its clips and splits.

    `fold` selects the test fold if the set has folds. `data_seed` seeds the draw of the validation and calibration
    splits from the other clips. `device_irs` is a folder of impulse responses that simulate several recording devices
    (`asc.data.devices`). With `part` "all", as for a final model, every clip is trained on and none is held out. With
    "confirmed", half of the calibration split is set aside to confirm the choice of a search that calibrates.
    `group_from` is a regular expression that finds a clip's group in its path, for sets that do not name groups
    (`asc.data.grouping`). `augment_irs` is a folder of impulse responses for `augment.impulse_response_p`; without it,
    those of `device_irs` are taken. `holdout_devices` names training devices, separated by commas, that are kept out of
    training for validation (`asc.data.devices`).
    """

    spec: str
    fold: int = field(default=1, kw_only=True)
    data_seed: int = field(default=0, kw_only=True)
    device_irs: str | None = field(default=None, kw_only=True)
    part: Part = field(default="development", kw_only=True)
    group_from: str | None = field(default=None, kw_only=True)
    augment_irs: str | None = field(default=None, kw_only=True)
    holdout_devices: str | None = field(default=None, kw_only=True)

    @property
    def holdout(self) -> tuple[str, ...]:
        """The devices that are kept out of training for validation."""
        return tuple(name.strip() for name in (self.holdout_devices or "").split(",") if name.strip())

    @property
    def response_bank(self) -> Path:
        """The folder of the impulse responses that training may put on clips.

        Raises:
            InputError: none was given.
        """
        named = self.augment_irs or self.device_irs
        if named is None:
            raise InputError(
                "augment.impulse_response_p is above 0, so training needs impulse responses of microphones: "
                "give their folder as --augment-irs DIR, or set augment.impulse_response_p=0"
            )
        return Path(named).expanduser()
