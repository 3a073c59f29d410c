"""Draw what `search_quality.py --traces FILE` has written: log loss reached against epochs spent, for some strategies.

python tests/benchmarks/quality_picture.py FILE docs/search_quality.png [--only NAME...]
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from search_quality import ENTRIES, reached

NAMES = [
    "random",
    "TPE as it comes, rejecting",
    "PriorBand, promotion",
    "asc before",
    "asc",
    "asc, 4 known",
]


def main() -> None:
    """Draw means with 95 % intervals over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", type=Path, metavar="FILE")
    parser.add_argument("picture", type=Path, metavar="PNG")
    parser.add_argument("--epochs", type=int, default=840, metavar="N", help="as given to search_quality.py")
    parser.add_argument("--only", nargs="+", default=NAMES, metavar="NAME")
    options = parser.parse_args()
    traces = json.loads(options.traces.read_text())
    figure, axes = plt.subplots(figsize=(7, 4), dpi=110)
    for name in options.only:
        longest = options.epochs if ENTRIES[name].whole else options.epochs // 2
        epochs = np.arange(0, longest + 1, 7)
        values = np.array([reached(traces[name], int(epoch)) for epoch in epochs])
        known = np.isfinite(values).all(axis=1)
        mean = values[known].mean(axis=1)
        half = 1.96 * values[known].std(axis=1, ddof=1) / np.sqrt(values.shape[1])
        (line,) = axes.plot(epochs[known], mean, label=name)
        axes.fill_between(epochs[known], mean - half, mean + half, alpha=0.2, color=line.get_color(), linewidth=0)
    axes.set_xlabel("epochs spent by all trials together")
    axes.set_ylabel("log loss of the best network (nats)")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(options.picture)


if __name__ == "__main__":
    main()
