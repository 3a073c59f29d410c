"""The augmentation's part of an experiment: what is done to the clips of training, drawn anew in every epoch.

The keys of the first group are those of the report (section 2.1). All others are off by default. They make networks
robust to microphones that were never heard; the modules of `asc.training.augmentations` name their papers.
"""

from dataclasses import dataclass

from asc.errors import require
from asc.typed import widen


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Augmentation on the fly; `_p` is the probability that a clip is changed, 0 changes none."""

    crop_s: float = 3.0
    speed_factors: tuple[float, ...] = (0.85, 1.0, 1.15)
    mixup_alpha: float = 0.2

    impulse_response_p: float = 0.0
    soft_clip_p: float = 0.0
    soft_clip_db: float = 12.0
    band_limit_p: float = 0.0
    band_limit_hz: float = 4_000.0
    level_jitter_db: float = 0.0
    roll_s: float = 0.0
    freq_mixstyle_p: float = 0.0
    freq_mixstyle_alpha: float = 0.3
    frequency_mask_bands: int = 0
    time_mask_s: float = 0.0

    def __post_init__(self) -> None:
        """Check ranges."""
        widen(self)
        require(self.crop_s >= 0.1, f"augment.crop_s must be at least 0.1 s, got {self.crop_s}")
        require(
            len(self.speed_factors) >= 1, "augment.speed_factors must name at least one factor (1.0 changes nothing)"
        )
        require(
            all(0.5 <= factor <= 2.0 for factor in self.speed_factors),
            f"augment.speed_factors must lie between 0.5 and 2, got {list(self.speed_factors)}",
        )
        require(self.mixup_alpha >= 0, f"augment.mixup_alpha must be 0 (no mixup) or more, got {self.mixup_alpha}")
        for key in ("impulse_response_p", "soft_clip_p", "band_limit_p", "freq_mixstyle_p"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"augment.{key} is a probability: it must lie between 0 (off) and 1, got {value}")
        for key, most, unit in (
            ("soft_clip_db", 60, "dB"),
            ("level_jitter_db", 60, "dB"),
            ("roll_s", 60, "s"),
            ("frequency_mask_bands", 1_024, "bands"),
            ("time_mask_s", 60, "s"),
        ):
            value = getattr(self, key)
            require(0 <= value <= most, f"augment.{key} must lie between 0 and {most:,} {unit}, got {value}")
        require(self.band_limit_hz >= 100, f"augment.band_limit_hz must be at least 100 Hz, got {self.band_limit_hz}")
        require(
            self.freq_mixstyle_alpha > 0, f"augment.freq_mixstyle_alpha must be above 0, got {self.freq_mixstyle_alpha}"
        )
