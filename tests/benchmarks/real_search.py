"""Compare a real search with the recorded random points, which are a real random search: same data, same settings.

    python tests/benchmarks/real_search.py --write small.toml
    python launch/search.py --data esc10:DIR --device-irs MICIRP --space small.toml --trials 30 \\
        --max-concurrent 1 --name real
    python tests/benchmarks/real_search.py --run runs/real

The first command writes a space with the settings of the recorded curves: small crops and a small front end, and three
cycles of 7 epochs, as many epochs as the recorded cycles of 1, 4 and 16. The third prints the lowest validation log
loss of a stored network that each has reached after some epochs. The recorded points are taken in their order, and each
was trained to its end.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from curves import FILE, read
from record_curves import CHANGES

from asc.launchers import search_spaces
from asc.runs.journal import read_journal
from asc.runs.record import fold

SETTINGS = {**CHANGES, "schedule.epochs_per_cycle": 7, "schedule.cycle_growth": 1}
MARKS = (42, 84, 168, 252, 336, 420, 630, 840)
Reached = list[tuple[int, float]]
"""Epochs spent so far, and the log loss of the network that was completed then."""


def small_space(name: str) -> str:
    """The text of a shipped space with these settings in place of its own, and without its portfolio."""
    text, _, _ = (search_spaces() / f"{name}.toml").read_text("utf-8").partition("[[portfolio]]")
    lines = [line for line in text.splitlines() if not line.startswith(tuple(f'"{key}"' for key in SETTINGS))]
    return "\n".join([*lines, *(f'"{key}" = {{ choices = [{json.dumps(v)}] }}' for key, v in SETTINGS.items()), ""])


def of_run(folder: Path) -> Reached:
    """What a search of one trial at a time reached."""
    record, spent, found = fold(read_journal(folder / "journal.jsonl")), 0, Reached()
    for trial in record.trials.values():
        spent += len(trial.epochs)
        if trial.ended is not None and trial.ended.outcome == "completed" and trial.ended.log_loss is not None:
            found.append((spent, trial.ended.log_loss))
    return found


def of_random(file: Path, space: str) -> Reached:
    """What the recorded points reached, the reference first as in a search."""
    curves = [curve for curve in read(file)[1] if curve.space == space and curve.seed == 0]
    ends = [curve.final_log_loss for curve in curves]
    epochs = sum(len(curve.log_losses) for curve in curves) // len(curves)
    return [(epochs * number, end) for number, end in enumerate(ends, start=1) if end is not None]


def best_after(reached: Iterable[tuple[int, float]], epochs: int) -> str:
    """The lowest log loss that was reached within this number of epochs."""
    values = [log_loss for spent, log_loss in reached if spent <= epochs]
    return f"{min(values):.3f}" if values else ""


def main() -> None:
    """Write the space, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--space", default="robust128")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--run", type=Path, nargs="*", default=[], metavar="FOLDER")
    options = parser.parse_args()
    if options.write:
        options.write.write_text(small_space(options.space), "utf-8")
        return
    rows = {f"random, {options.space}": of_random(options.file, options.space)}
    rows |= {folder.name: of_run(folder) for folder in options.run}
    print(f"| lowest log loss | {' | '.join(f'{mark} epochs' for mark in MARKS)} | epochs in all |")
    print("|---" * (len(MARKS) + 2) + "|")
    for name, reached in rows.items():
        print(f"| {name} | {' | '.join(best_after(reached, mark) for mark in MARKS)} | {reached[-1][0]} |")


if __name__ == "__main__":
    main()
