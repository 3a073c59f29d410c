"""Published figures to compare ours with, from `published.toml`, which names the source of each."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from asc.typed import build


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSystem:
    """One row of a results table. `optimistic` marks systems that were calibrated on the test clips themselves."""

    name: str
    log_loss: float
    accuracy_percent: float
    optimistic: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """The official baseline's figures for one class."""

    log_loss: float
    accuracy_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Published figures on one test split: overall ones of systems, and the official baseline's by class and device.

    `baseline_devices` and `baseline_exposure` (seen and unseen devices) are log losses, macro over classes.
    """

    systems: tuple[PublishedSystem, ...]
    baseline_classes: Mapping[str, ClassRow]
    baseline_devices: Mapping[str, float]
    baseline_exposure: Mapping[str, float]
    baseline_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    tau2020: Published


def tau2020() -> Published:
    """Load the figures on the test split of TAU Urban Acoustic Scenes 2020 Mobile, development (clips of 10 s)."""
    return build(_Sets, tomllib.loads((resources.files("asc.console") / "published.toml").read_text("utf-8"))).tau2020
