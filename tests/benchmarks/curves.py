"""Recorded learning curves of random points of search spaces: a gzipped file with one JSON object a line.

The first line says how all were trained; every other line is a point. Each line is a gzip member of its own, so that
lines can be appended, and a file of several hundred points is small.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from asc.typed import Scalar

FILE = Path(__file__).parent / "curves.jsonl.gz"
Outcome = Literal["completed", "diverged", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Macro log loss (nats) and accuracy on the test clips: of all devices, those seen in training, the others."""

    log_loss: float
    accuracy: float
    seen_log_loss: float
    seen_accuracy: float
    unseen_log_loss: float
    unseen_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A point of a space and what came of it. Number 0 is the reference.

    `log_losses`, `accuracies` (validation clips) and `seconds` are by epoch. `final_log_loss` and `final_accuracy` are
    of the stored network, as a search ranks it. `test` has figures by epoch, at the ends of cycles, and those of the
    stored network under "stored". A refused point fits the budget at no width.
    """

    space: str
    number: int
    seed: int
    point: Mapping[str, Scalar]
    outcome: Outcome
    config: Mapping[str, Scalar] = field(default_factory=dict)
    size_bytes: int = 0
    nonzero_bytes: int = 0
    macs_per_second: int = 0
    log_losses: tuple[float, ...] = ()
    accuracies: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    best_epoch: int | None = None
    final_log_loss: float | None = None
    final_accuracy: float | None = None
    test: Mapping[str, Figures] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the others: space, number and seed."""
        return self.space, self.number, self.seed


def append(path: Path, line: Mapping[str, Any] | Curve) -> None:
    """Append a line."""
    tree = {name: value for name, value in asdict(line).items() if value} if isinstance(line, Curve) else line
    with path.open("ab") as file:
        file.write(gzip.compress(json.dumps(tree, separators=(",", ":")).encode() + b"\n"))


def read(path: Path) -> tuple[dict[str, Any], list[Curve]]:
    """Read how the curves were trained, and the curves."""
    header, *lines = gzip.decompress(path.read_bytes()).splitlines()
    return json.loads(header), [_curve(json.loads(line)) for line in lines]


def _curve(tree: dict[str, Any]) -> Curve:
    lists = {key: tuple(tree.get(key, ())) for key in ("log_losses", "accuracies", "seconds")}
    test = {epoch: Figures(**figures) for epoch, figures in tree.get("test", {}).items()}
    return Curve(**{"number": 0, "seed": 0, "point": {}, **tree, **lists, "test": test})
