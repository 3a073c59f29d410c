"""The rows that every data set reader returns, before all four splits are assigned."""

from dataclasses import dataclass

from asc.results import Split

UNKNOWN_DEVICE = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A recording of a set; `given` (its split) and `fold` are None if the set has none.

    `path` is relative to the set's folder; `group` names the place or source, all in one split.
    """

    path: str
    label: str
    device: str
    group: str
    given: Split | None = None
    fold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """The recordings of an unlabelled set, such as a challenge evaluation set. `labels` are all possible labels.

    `devices` has the device of each recording, or nothing if they are unknown.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    devices: tuple[str, ...] = ()
