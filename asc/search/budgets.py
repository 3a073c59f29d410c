"""Several budgets in one search: a sampler for each, which also learns from the networks of smaller budgets.

A network that was narrowed to 16 KB is also a network within 128 KB, and its log loss is the same. So the result of a
trial counts for every budget that holds the trial's bytes, as what it is: a point with the network's own widths. A
network that is too large for a budget says nothing about it. Nothing is scaled or guessed to make results comparable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from asc.config.experiment import Experiment
from asc.config.space import Space
from asc.results import StoredSize
from asc.runs.events import TrialAsked
from asc.search.repair import Budget
from asc.search.sampler import FamilySampler, Handle, Sampler, Told, sampler_of
from asc.search.settings import SearchSettings
from asc.typed import Scalar

_APART = 7919  # between the seeds of the samplers


class BudgetSamplers:
    """The samplers of a search, one for each budget, in the order of the budgets."""

    def __init__(self, space: Space, settings: SearchSettings, budgets: Sequence[Budget]) -> None:
        """Start without results."""
        self._space, self._budgets = space, tuple(budgets)
        self._samplers: tuple[Sampler | FamilySampler, ...] = tuple(
            sampler_of(
                space,
                seed=settings.seed + _APART * number,
                trials=settings.trials // len(budgets),
                objectives=len(settings.aims),
            )
            for number in range(len(budgets))
        )
        self._handles: dict[str, list[tuple[int, Handle]]] = {}

    def ask(self, budget: int) -> tuple[Handle, dict[str, Scalar]]:
        """Draw a point for the budget with this number; return its handle for `entered` or `refused`, and the point."""
        return self._samplers[budget].ask()

    def drawn(self, budget: int, point: Mapping[str, Scalar]) -> Handle:
        """Count a draw of an earlier process, and return a handle as `ask` does."""
        self._samplers[budget].skip(point)
        return self._samplers[budget].begin(point)

    def given(self, budget: int, point: Mapping[str, Scalar]) -> Handle:
        """Return a handle for a point that no sampler drew: a reference, or one of an earlier run."""
        return self._samplers[budget].begin(point)

    def refused(self, budget: int, handle: Handle, told: Told) -> None:
        """Tell the result of a point that became no trial."""
        self._samplers[budget].tell(handle, told)

    def entered(self, asked: TrialAsked, budget: int, handle: Handle | None) -> None:
        """A point has become a trial: enter its network with the samplers of all other budgets that hold it."""
        handles = [] if handle is None else [(budget, handle)]
        others = [number for number in self._holding(asked.predicted) if number != budget]
        point = self._space.point_of(Experiment.from_flat(asked.config)) if others else None
        if point is not None:
            handles += [(number, self._samplers[number].begin(point)) for number in others]
        self._handles[asked.trial] = handles

    def tell(self, name: str, told: Told, *, final: bool = True) -> None:
        """Record the result of a trial; unless it is final, a later one replaces it."""
        for number, handle in self._handles.pop(name, []) if final else self._handles.get(name, []):
            self._samplers[number].tell(handle, told, final=final)

    def _holding(self, stored: StoredSize) -> Iterator[int]:
        return (number for number, budget in enumerate(self._budgets) if budget.holds_bytes(stored))


def budgets_of(settings: SearchSettings, largest: Budget) -> tuple[Budget, ...]:
    """The budgets of a search, the largest first; they differ in their KB alone."""
    return tuple(replace(largest, kilobytes=kilobytes) for kilobytes in settings.budgets)
