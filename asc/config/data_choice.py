"""Which data: the one description of it that runs, searches, workers and model files share."""

from dataclasses import dataclass, field
from typing import Literal

Part = Literal["development", "all"]


@dataclass(frozen=True, slots=True)
class DataChoice:
    """A data set as `--data` names it, and all that decides its clips and splits.

    `fold` picks the test fold where the set has folds, `data_seed` draws valid and calibration from the rest.
    `device_irs` is a folder of impulse responses that make the set a multi-device one (`asc.data.devices`). `part` is
    "all" for a final model: it trains on every clip, and none is held out. `group_from` is a regular expression that
    finds a clip's group in its path (`asc.data.grouping`), for sets that do not name groups.
    """

    spec: str
    fold: int = field(default=1, kw_only=True)
    data_seed: int = field(default=0, kw_only=True)
    device_irs: str | None = field(default=None, kw_only=True)
    part: Part = field(default="development", kw_only=True)
    group_from: str | None = field(default=None, kw_only=True)
