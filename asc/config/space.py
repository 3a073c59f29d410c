"""A search space: ranges and choices for dotted config keys, read from a TOML file such as `search_spaces/*.toml`.

    schema = 1
    [parameters]
    "architecture.widths.0" = { low = 4, high = 48, step = 4 }
    "schedule.learning_rate_max" = { low = 5e-4, high = 1e-2, log = true }
    "architecture.time_strides" = { choices = [[2, 2, 1, 2, 1, 1], [2, 2, 1, 1, 1, 1]] }
    "augment.crop_s" = { choices = [1.0] }

A list of one choice is a setting of the whole search: it is not sampled, and the reference (trial 0) has it too.

The depths of stages may be drawn stage by stage (`architecture.depths.0`). Strides are then listed for the blocks of
the reference: a shallower stage takes its first ones, and blocks beyond the list have stride 1 (`resnet_se.fitted`).

A space of several families of networks lists them as choices of `architecture.family`, and has a table for each:

    [families.cp_mobile]
    "architecture.cp_mobile.base_channels" = { low = 8, high = 64, step = 8 }

The keys of a family are sampled only for points of that family.

A space that is made for one accounting rule names it: `rule = "dcase2025"`. A search then counts by it unless told
otherwise.

A space may hold a portfolio: points that were good in earlier trainings, each in a table with a value for every sampled
key. A search tries them after the reference.

    [[portfolio]]
    "architecture.widths.0" = 24
    "schedule.learning_rate_max" = 2e-3
"""

import json
import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from asc.config.experiment import Experiment
from asc.typed import Scalar, Value

FAMILY = "architecture.family"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntRange:
    """Integers low, low + step, ... up to and including high, if a step lands on it."""

    low: int
    high: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatRange:
    """Numbers from low to high, drawn uniformly or, with `log`, log-uniformly."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of these values; their order means nothing."""

    options: tuple[Value, ...]


Parameter = IntRange | FloatRange | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """Parameters by dotted key. A point holds one scalar per sampled key; `values` turns it into config values.

    `rule` is the accounting rule that the space is made for, or None. The points of the `portfolio` are tried first.
    """

    name: str
    text: str
    parameters: Mapping[str, Parameter]
    families: Mapping[str, Mapping[str, Parameter]] = field(default_factory=dict)
    rule: str | None = None
    portfolio: tuple[Mapping[str, Scalar], ...] = ()

    @cached_property
    def settings(self) -> dict[str, Value]:
        """The parameters with a single choice, which every trial shares."""
        return {k: p.options[0] for k, p in self.parameters.items() if isinstance(p, Choice) and len(p.options) == 1}

    @cached_property
    def sampled(self) -> dict[str, Parameter]:
        """The parameters that a sampler chooses values for, those of all families included."""
        found = {key: p for key, p in self.parameters.items() if key not in self.settings}
        for family in self.families:
            found |= self.of_family(family).sampled
        return found

    def each(self) -> "list[Space]":
        """This space, or if it has several families the space of each."""
        return [self.of_family(family) for family in self.families] or [self]

    def of_family(self, family: str) -> "Space":
        """The space of one family: what all families share, and its own keys; `architecture.family` is a setting."""
        return self._by_family[family]

    @cached_property
    def _by_family(self) -> dict[str, "Space"]:
        found = {}
        for family, own in self.families.items():
            parameters = {**self.parameters, **own, FAMILY: Choice(options=(family,))}
            found[family] = Space(name=self.name, text=self.text, parameters=parameters)
        return found

    def values(self, point: Mapping[str, Scalar]) -> dict[str, Value]:
        """The config values of a point, in which lists are JSON text because samplers handle scalars only.

        With them come the settings of the point's family. Those of all families are in the reference, where options of
        the command line may have changed them.
        """
        if not self.families:
            return {key: _decoded(self.sampled[key], value) for key, value in point.items()}
        if FAMILY not in point:  # the reference
            return {}
        family = str(point[FAMILY])
        space, own = self.of_family(family), {*self.families[family], FAMILY}
        settings = {key: value for key, value in space.settings.items() if key in own}
        return {**settings, **space.values({key: v for key, v in point.items() if key in space.sampled})}

    def point_of(self, experiment: Experiment, drawn: Mapping[str, Scalar] | None = None) -> dict[str, Scalar] | None:
        """The point of an experiment, or None if one of its values lies outside the space.

        If the experiment was repaired, give the point that was `drawn` for it, in this space or another one: its values
        count where they lie in the space, because repair does not keep to the steps of a range.
        """
        found = self._places(experiment, drawn or {})
        return None if None in found.values() else {key: value for key, value in found.items() if value is not None}

    def outside(self, experiment: Experiment, drawn: Mapping[str, Scalar] | None = None) -> list[str]:
        """The keys whose values keep an experiment from being a point of this space (see `point_of`)."""
        return [key for key, value in self._places(experiment, drawn or {}).items() if value is None]

    def _places(self, experiment: Experiment, drawn: Mapping[str, Scalar]) -> dict[str, Scalar | None]:
        """The value of each key in a point of the space; None where the experiment lies outside."""
        if self.families:
            family = experiment.architecture.family
            if family not in self.families:
                return {FAMILY: None}
            return {FAMILY: family, **self.of_family(family)._places(experiment, drawn)}
        tree = asdict(experiment)
        return {key: _place(key, parameter, tree, drawn) for key, parameter in self.sampled.items()}

    def sampled_with(self, family: str | None) -> Mapping[str, Parameter]:
        """The parameters that a point has a value for: those of its `family`, if the space has several."""
        if not self.families or family is None:
            return self.sampled
        return {FAMILY: self.parameters[FAMILY], **self.of_family(family).sampled}

    def sample(self, rng: random.Random) -> dict[str, Scalar]:
        """A random point: uniform, or log-uniform for ranges with `log`; of several families each is as likely."""
        if self.families:
            family = str(_drawn(self.parameters[FAMILY], rng))
            return {FAMILY: family, **self.of_family(family).sample(rng)}
        return {key: _drawn(parameter, rng) for key, parameter in self.sampled.items()}


def encoded(value: Value) -> Scalar:
    """A choice's value as a scalar: lists become JSON text."""
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[int(part)] if part.isdigit() else tree[part]
    return tree


def _place(key: str, parameter: Parameter, tree: Mapping[str, Any], drawn: Mapping[str, Scalar]) -> Scalar | None:
    """The value of a key in a point: the drawn one, else that of a config's tree; None if neither is in the range."""
    if key in drawn and contains(parameter, _decoded(parameter, drawn[key])):
        return drawn[key]
    try:
        value = _at(tree, key)
    except IndexError:  # the network has fewer stages or blocks than the space names
        return None
    if not contains(parameter, value):
        return None
    return encoded(value) if isinstance(parameter, Choice) else value


def contains(parameter: Parameter, value: Any) -> bool:
    """Whether a config value is one of those that the parameter may have."""
    match parameter:
        case IntRange():
            return value in range(parameter.low, parameter.high + 1, parameter.step)
        case FloatRange():
            return bool(parameter.low <= value <= parameter.high)
        case Choice():
            return value in parameter.options


def _decoded(parameter: Parameter, value: Scalar) -> Value:
    if isinstance(parameter, Choice) and isinstance(parameter.options[0], tuple):
        return tuple(json.loads(str(value)))
    return value


def _drawn(parameter: Parameter, rng: random.Random) -> Scalar:
    match parameter:
        case IntRange():
            return rng.randrange(parameter.low, parameter.high + 1, parameter.step)
        case FloatRange(log=True):
            drawn = math.exp(rng.uniform(math.log(parameter.low), math.log(parameter.high)))
            return min(max(drawn, parameter.low), parameter.high)  # rounding may put exp(log(x)) outside
        case FloatRange():
            return rng.uniform(parameter.low, parameter.high)
        case Choice():
            return encoded(rng.choice(parameter.options))
