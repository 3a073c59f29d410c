"""The config of an experiment: one frozen `Experiment`, read and written as TOML or as flat dotted keys.

The defaults are the reference system of the report (IDLab, DCASE 2021 task 1a, system 1). The recipe `qat_8b` spells
them out and gives the section of the report for each value. Keys that were added later may differ there, because the
default of such a key is what older files mean. Before you add a key, read the rule in `asc.config.fingerprint`: its
default must change nothing. Dotted keys reach into tuples: `architecture.widths.1`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, Self

import tomli_w

from asc.config.architecture import FAMILY_KEYS, Architecture, family_of
from asc.config.augment import Augment
from asc.config.distillation import Distillation
from asc.config.fingerprint import SCHEMA, fingerprint, readable, without_defaults
from asc.config.front_end import FrontEnd
from asc.errors import InputError, require, require_together
from asc.results import CalibrationMethod
from asc.typed import Scalar, Value, assign, build, leaves, nested, plain, rebuilt, widen

Storage = Literal["int8", "float16"]
_MOST_EPOCHS_GROWING = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How weights are stored, what share of them is pruned, and when quantisation ranges freeze (report, section 3).

    `int8` trains with quantisation (3.1). `float16` trains and computes in 32 bits and stores 16. `prune_ratio` is the
    share of the weights, smallest first, that is permanently set to zero after the first cycle (3.3). For the last
    `freeze_share` of the last cycle, quantisation ranges are frozen.
    """

    storage: Storage = "int8"
    prune_ratio: float = 0.0
    freeze_share: float = 0.25

    def __post_init__(self) -> None:
        """Check ranges."""
        widen(self)
        require(
            0 <= self.prune_ratio < 1,
            f"compression.prune_ratio must be at least 0 (no pruning) and below 1, got {self.prune_ratio}",
        )
        require(
            0 <= self.freeze_share < 1,
            f"compression.freeze_share is a share of the last cycle: it must be at least 0 and below 1, "
            f"got {self.freeze_share}",
        )


def method_for(method: CalibrationMethod, prune_ratio: float) -> CalibrationMethod:
    """The calibration to use: `method`, or "temperature" for a pruned network if `method` is a regression.

    A regression would turn the zeros of the pruned weights into other values; a temperature keeps them.
    """
    return "temperature" if prune_ratio > 0 and method in ("multinomial", "one_vs_rest") else method


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The calibration of the logits that is fused into the last layer after training (report, section 2.4).

    `fit_on` names the split that it is fitted on. "test" reproduces the starred rows of the report, and makes the
    figures on the test fold optimistic.
    """

    method: CalibrationMethod = "none"
    fit_on: Literal["calibration", "test"] = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Adam under CyclicLR, policy triangular2 (report, section 2.1).

    Each cycle is `cycle_growth` times as long as the one before; the first has `epochs_per_cycle` epochs. Cycles that
    grow are those of warm restarts (Loshchilov & Hutter 2017, https://arxiv.org/abs/1608.03983): the first ends early,
    and a search can compare networks there.
    """

    cycles: int = 3
    epochs_per_cycle: int = 120
    cycle_growth: int = 1
    learning_rate_min: float = 1e-6
    learning_rate_max: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Check ranges."""
        widen(self)
        for key in ("cycles", "epochs_per_cycle", "cycle_growth", "batch_size"):
            require(getattr(self, key) >= 1, f"schedule.{key} must be at least 1, got {getattr(self, key)}")
        require(self.batch_size >= 2, f"schedule.batch_size must be at least 2 (batch norm), got {self.batch_size}")
        require(
            0 < self.learning_rate_min <= self.learning_rate_max,
            f"schedule.learning_rate_min {self.learning_rate_min} must be above 0 and at most "
            f"schedule.learning_rate_max {self.learning_rate_max}",
        )
        require(self.weight_decay >= 0, f"schedule.weight_decay must be 0 or more, got {self.weight_decay}")
        few = self.cycles <= _MOST_EPOCHS_GROWING.bit_length()  # else the number of epochs may not even be computed
        require_together(
            self.cycle_growth == 1 or (few and self.epochs <= _MOST_EPOCHS_GROWING),
            f"schedule.cycle_growth {self.cycle_growth} makes {self.cycles} cycles longer than "
            f"{_MOST_EPOCHS_GROWING:,} epochs: set fewer schedule.cycles",
        )

    @property
    def cycle_lengths(self) -> tuple[int, ...]:
        """The epochs of each cycle."""
        return tuple(self.epochs_per_cycle * self.cycle_growth**number for number in range(self.cycles))

    @property
    def cycle_ends(self) -> tuple[int, ...]:
        """The epochs (from 1) at which the cycles end; the last is that of the whole schedule."""
        return tuple(accumulate(self.cycle_lengths))

    @property
    def epochs(self) -> int:
        """Number of epochs of the whole schedule."""
        return self.cycles * self.epochs_per_cycle if self.cycle_growth == 1 else sum(self.cycle_lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Everything that decides a training except the data: equal experiments on equal data give equal weights."""

    seed: int = 0
    front_end: FrontEnd = field(default_factory=FrontEnd)
    augment: Augment = field(default_factory=Augment)
    architecture: Architecture = field(default_factory=Architecture)
    compression: Compression = field(default_factory=Compression)
    calibration: Calibration = field(default_factory=Calibration)
    schedule: Schedule = field(default_factory=Schedule)
    distillation: Distillation = field(default_factory=Distillation)

    def __post_init__(self) -> None:
        """Check the seed, and values of different sections against each other."""
        require(0 <= self.seed < 2**63, f"seed must be at least 0 and below 2^63, got {self.seed}")
        require_together(
            self.front_end.frames(self.augment.crop_s) >= 1,
            f"augment.crop_s {self.augment.crop_s} is shorter than front_end.hop_s {self.front_end.hop_s}: a crop must "
            "have at least one frame",
        )
        pruned, method = self.compression.prune_ratio > 0, self.calibration.method
        require(
            not pruned or self.schedule.cycles >= 2,
            f"compression.prune_ratio {self.compression.prune_ratio} prunes after the first cycle, so at least one "
            f"more cycle must follow: set schedule.cycles to 2 or more, got {self.schedule.cycles}",
        )
        require(
            method == method_for(method, self.compression.prune_ratio),
            f"calibration.method {method} would undo the zeros of a pruned network: use temperature, which keeps them",
        )

    @property
    def first_kept_epoch(self) -> int:
        """The first epoch (from 1) whose network may be stored: the first, or with pruning the first after it."""
        return self.schedule.cycle_ends[0] + 1 if self.compression.prune_ratio > 0 else 1

    def flat(self) -> dict[str, Scalar]:
        """Every value under its dotted key, without other families; tuples by index: `architecture.widths.1` -> 48."""
        return dict(leaves(self._without_other_families()))

    def _without_other_families(self) -> dict[str, Any]:
        """Nested tables without the keys of other families, unless they differ from their defaults."""
        tree, default = plain(self), plain(Architecture())
        for family, keys in FAMILY_KEYS.items():
            for key in keys if family != self.architecture.family else ():
                if tree["architecture"][key] == default[key]:
                    del tree["architecture"][key]
        return tree

    def tree(self) -> dict[str, Any]:
        """Nested tables as files hold them: a key that was added later is left out if it has its default."""
        return without_defaults(plain(self), plain(type(self)()))

    def updated(self, values: Mapping[str, Value]) -> Self:
        """A copy with new values for these dotted keys; a key names a value, a whole tuple or one element of it.

        Raises:
            InputError: a key is unknown, or a value has the wrong type, is out of range or does not fit the others.
        """
        tree = plain(self)
        family = values.get("architecture.family", self.architecture.family)
        if family != self.architecture.family:  # nothing of the old family's keys stays
            tree["architecture"] = {**plain(Architecture()), "classes": self.architecture.classes}
        for key, value in values.items():
            owner = family_of(key)
            require(
                owner in (None, family),
                f"{key} is a key of the family {owner}, but architecture.family is {family}: leave it out",
            )
            assign(tree, key, value)
        changed = {key.partition(".")[0] for key in values}
        return rebuilt(self, {name: tree[name] for name in changed})

    @classmethod
    def from_flat(cls, values: Mapping[str, Scalar]) -> Self:
        """The inverse of `flat`; unlike in `updated`, the keys set the length of each tuple.

        Raises:
            InputError: as `updated`.
        """
        return build(cls, nested(values))

    @classmethod
    def of_model(cls, tree: Mapping[str, Any]) -> Self:
        """The experiment of a model file, from its `tree()`; training keys that this version lacks are ignored.

        Raises:
            InputError: as `updated`.
        """
        return build(cls, readable(tree, plain(cls())), "config.")

    def to_toml(self) -> str:
        """TOML text from which `from_toml` reads an equal experiment."""
        return tomli_w.dumps({"schema": SCHEMA, **self._without_other_families()})

    @classmethod
    def from_toml(cls, text: str, source: str = "config") -> Self:
        """Read TOML text; missing keys take their defaults, and `source` names the file in errors.

        Raises:
            InputError: not TOML, another schema version, an unknown key, a wrong type or value.
        """
        try:
            tree: dict[str, Any] = tomllib.loads(text)
        except ValueError as error:
            raise InputError(f"{source} is not valid TOML: {error}") from error
        schema = tree.pop("schema", None)
        if schema != SCHEMA:
            raise InputError(
                f"{source} has schema {schema!r}, but this asc reads schema {SCHEMA}: set `schema = {SCHEMA}`"
            )
        try:
            return build(cls, tree)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name this experiment; equal experiments have equal fingerprints."""
        return fingerprint(self.tree())
