"""Ranks trials by several figures, all of which should be low: Pareto fronts, and a spread within each.

Nondominated sorting (Deb et al. 2002, NSGA-II, section 3A, https://doi.org/10.1109/4235.996017): one trial dominates
another if none of its figures is higher and one is lower. The first front has those that nothing dominates, the second
those that only the first front dominates, and so on. Within a front a trial comes the earlier, the farther it is from
those before it, as in multi-objective ASHA (Schmucker et al. 2021, EpsNet, https://arxiv.org/abs/2106.12639).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Figures = tuple[float, ...]


def front(figures: Mapping[str, Figures]) -> list[str]:
    """The names that nothing dominates, in the order of the mapping; of equal figures, all."""
    return [name for name, others in zip(figures, _dominating(figures).sum(axis=0), strict=True) if others == 0]


def ranked(figures: Mapping[str, Figures]) -> list[str]:
    """All names, best first: front by front, each from the one with the lowest first figure."""
    names, values, dominating = list(figures), _rows(figures), _dominating(figures)
    left, found = dominating.sum(axis=0), list[str]()
    while len(found) < len(names):
        of_front = np.flatnonzero(left == 0)
        found += [names[of_front[number]] for number in _spread(values[of_front])]
        left[of_front] = -1
        left -= dominating[of_front].sum(axis=0)
    return found


def _rows(figures: Mapping[str, Figures]) -> NDArray[np.float64]:
    """The figures as (trials, figures)."""
    columns = len(next(iter(figures.values()), ()))
    return np.array(list(figures.values()), dtype=np.float64).reshape(len(figures), columns)


def _dominating(figures: Mapping[str, Figures]) -> NDArray[np.bool_]:
    """Which trial (row) dominates which (column), (trials, trials)."""
    values = _rows(figures)
    lower = np.zeros((len(values), len(values)), dtype=np.bool_)
    higher = lower.copy()
    for column in values.T:
        lower |= column[:, None] < column
        higher |= column[:, None] > column
    return lower & ~higher


def _spread(values: NDArray[np.float64]) -> list[int]:
    """The rows of (trials, figures) in order: the lowest first figure, then always the row farthest from those taken.

    Figures are scaled to their range in the front, so that bytes do not outweigh nats.
    """
    width = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(width > 0, width, 1)
    columns = np.ascontiguousarray(scaled.T)
    order, apart = [int(np.lexsort(values.T[::-1])[0])], np.full(len(values), np.inf)
    while len(order) < len(values):
        taken = order[-1]
        np.minimum(apart, sum((column - column[taken]) ** 2 for column in columns), out=apart)  # squared distances
        apart[taken] = -1
        order.append(int(np.argmax(apart)))
    return order
