"""Print the best recorded points of a search space, as the `[[portfolio]]` tables of its file.

    python tests/benchmarks/portfolio.py --space idlab128 --points 4
    python tests/benchmarks/portfolio.py --space robust128 --points 4 --only front_end.normalisation=mean_over_time

Each recorded training (`curves.py`), of any space, whose config is a point of this space counts. The lowest of many
log losses is partly luck: the best point of a first version, near to diverging, was poor in the next search. So a point
counts with the mean of the log loss that it reached and the one that the surrogate expects from the other points. Log
losses are of validation clips; the figures of test clips are not looked at.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from curves import FILE, Curve, read
from record_curves import BUDGET, reference
from surrogate import Surrogate

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.config.space_file import load_space
from asc.search.repair import repair
from asc.typed import Scalar

Point = Mapping[str, Scalar]


def best_points(curves: Sequence[Curve], space: Space) -> list[tuple[Point, float]]:
    """The recorded points of a space and their log losses (nats), best first; without the reference."""
    found: dict[Experiment, tuple[Point, float]] = {}
    base = reference(space)
    for curve, expected in Surrogate(curves).expected():
        trained = Experiment.from_flat(curve.config)
        point = space.point_of(trained, curve.point)
        candidate = None if point is None or curve.number == 0 else repair(base, space, point, BUDGET)
        if point is not None and candidate is not None and candidate.experiment == trained.updated({"seed": 0}):
            assert curve.final_log_loss is not None
            found.setdefault(candidate.experiment, (point, (expected + curve.final_log_loss) / 2))
    return sorted(found.values(), key=lambda one: one[1])


def tables(points: Iterable[tuple[Point, float]], space: Space) -> Iterator[str]:
    """The lines of the tables."""
    for point, log_loss in points:
        yield f"\n[[portfolio]]  # {log_loss:.3f}"
        for key, value in space.values(point).items():
            yield f'"{key}" = {json.dumps(_rounded(value))}'


def _rounded(value: object) -> object:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--space", default="robust128")
    parser.add_argument("--points", type=int, default=8, metavar="N")
    parser.add_argument("--only", metavar="KEY=VALUE", help="only points with this value")
    options = parser.parse_args()
    space = load_space(options.space)
    found = best_points(read(options.file)[1], space)
    if options.only:
        key, _, value = options.only.partition("=")
        found = [(point, log_loss) for point, log_loss in found if str(point[key]) == value]
    print(f"# the best {options.points} of {len(found)} recorded trainings, with such a mean for each")
    for line in tables(found[: options.points], space):
        print(line)


if __name__ == "__main__":
    main()
