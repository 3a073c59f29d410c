"""Print what each augmentation of `robust128` does to log loss on devices that training has heard, and on others.

    python tests/benchmarks/robustness.py

A linear model of the recorded trainings of random points (`curves.py`): each augmentation, and the front end without
removal of the mean over time, is on or off; the logarithms of bytes and learning rate are in the model, too. An effect
is the change of the log loss of the stored network on test clips (nats) where a key is on, with its standard error.
"""

import argparse
from pathlib import Path

import numpy as np
from curves import FILE, Curve, read
from numpy.typing import NDArray

from asc.typed import Scalar

AUGMENTATIONS = (
    *("freq_mixstyle_p", "impulse_response_p", "soft_clip_p", "band_limit_p", "level_jitter_db", "roll_s"),
    *("frequency_mask_bands", "time_mask_s", "mixup_alpha"),
)
NORMALISATION = "front_end.normalisation"
Numbers = NDArray[np.float64]


def features(curve: Curve) -> list[float]:
    """What the model knows of a point: a number for each row of the table, then bytes and learning rate."""
    config = curve.config
    on = [float(config[NORMALISATION] == "none"), *(float(_number(config[f"augment.{a}"]) > 0) for a in AUGMENTATIONS)]
    return [*on, np.log(curve.nonzero_bytes), np.log(_number(config["schedule.learning_rate_max"]))]


def _number(value: Scalar) -> float:
    assert isinstance(value, int | float)
    return float(value)


def effects(points: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The coefficients of the linear model without its constant, and their standard errors: (features,) each."""
    design = np.column_stack([np.ones(len(points)), points - points.mean(axis=0)])
    found, *_ = np.linalg.lstsq(design, values, rcond=None)
    left = np.sum((values - design @ found) ** 2) / (len(values) - design.shape[1])
    return found[1:], np.sqrt(np.diag(left * np.linalg.inv(design.T @ design)))[1:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE, metavar="FILE")
    curves = [
        curve
        for curve in read(parser.parse_args().file)[1]
        if curve.space == "robust128" and curve.outcome == "completed" and curve.number > 0
    ]
    points = np.array([features(curve) for curve in curves])
    stored = [curve.test["stored"] for curve in curves]
    seen = np.array([figures.seen_log_loss for figures in stored])
    unseen = np.array([figures.unseen_log_loss for figures in stored])
    columns = [effects(points, values) for values in (seen, unseen, unseen - seen)]
    print(f"{len(curves)} trainings; log loss {seen.mean():.3f} on devices heard, {unseen.mean():.3f} on others")
    print("| what is on | trainings | devices heard | others | difference |\n|---|---|---|---|---|")
    for row, name in enumerate((f"`{NORMALISATION}` none", *(f"`augment.{name}`" for name in AUGMENTATIONS))):
        cells = (f"{found[row]:+.3f} ± {error[row]:.3f}" for found, error in columns)
        print(f"| {name} | {int(points[:, row].sum())} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
