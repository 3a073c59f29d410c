"""What every reader of a data set hands on: rows that do not yet have all four splits."""

from dataclasses import dataclass

from asc.results import Split

UNKNOWN_DEVICE = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One recording of a set; `given` and `fold` are None where the set does not say.

    `path` is relative to the set's folder; `group` names the place or source that must stay within one split.
    """

    path: str
    label: str
    device: str
    group: str
    given: Split | None = None
    fold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """The recordings of a set without labels, as a challenge hands it out; the labels are those that it may have."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
